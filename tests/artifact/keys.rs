use crate::fake::{in_memory, open};
use futures::future::join_all;
use rstest::rstest;
use synthohive::{
    Result, SynthError,
    schema::{Key, KeyKind, TableName},
    store::{DeclaredKeys, ModelStore},
};

fn key(column: &str) -> Key {
    let table = TableName { catalog: "datafusion".into(), schema: "public".into(), table: "orders".into() };
    Key { name: format!("orders_{column}_key"), table, kind: KeyKind::Unique, columns: vec![column.to_owned()] }
}

async fn declare(store: &ModelStore, column: &str) -> Result<()> {
    store
        .change_keys(|declared| {
            declared.keys.push(key(column));
            Ok(())
        })
        .await
}

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_is_lost(#[case] on_disk: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = if on_disk { open(&folder.path().display().to_string()) } else { in_memory().1 };
    assert_eq!(store.declared_keys().await.unwrap(), DeclaredKeys::default());
    let writers = (0..20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { declare(&store, &format!("c{number}")).await.unwrap() })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let mut columns: Vec<String> =
        store.declared_keys().await.unwrap().keys.into_iter().flat_map(|key| key.columns).collect();
    columns.sort();
    let mut expected: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    expected.sort();
    assert_eq!(columns, expected);
}

#[tokio::test]
async fn an_error_changes_nothing() {
    let store = in_memory().1;
    declare(&store, "a").await.unwrap();
    let refused = store
        .change_keys(|declared| {
            declared.keys.clear();
            Err::<(), _>(SynthError::Cancelled)
        })
        .await;
    assert!(matches!(refused, Err(SynthError::Cancelled)));
    assert_eq!(store.declared_keys().await.unwrap().keys, [key("a")]);
}

#[tokio::test]
async fn damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().display().to_string());
    declare(&store, "a").await.unwrap();
    let file = folder.path().join("keys.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"a\"", "\"b\"")).unwrap();
    let error = store.declared_keys().await.unwrap_err().to_string();
    assert!(error.contains("keys.json") && error.contains("checksum"), "{error}");
}
