use crate::fake::{in_memory, open};
use futures::future::join_all;
use rstest::rstest;
use std::collections::BTreeMap;
use synthohive::schema::ColumnRole;

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_declaration_is_lost(#[case] on_disk: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = if on_disk { open(&folder.path().display().to_string()) } else { in_memory().1 };
    assert!(store.declared_roles().await.unwrap().is_empty());
    let writers = (0..20).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            let column = format!("c{i}");
            let declare = |roles: &mut BTreeMap<String, BTreeMap<String, ColumnRole>>| {
                roles.entry("orders".to_owned()).or_default().insert(column.clone(), ColumnRole::FreeText);
            };
            store.change_roles(declare).await.unwrap();
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    assert_eq!(store.roles_for("orders").await.unwrap().len(), 20);
    assert!(store.roles_for("customers").await.unwrap().is_empty());

    store.change_roles(|roles| roles.clear()).await.unwrap();
    assert!(store.declared_roles().await.unwrap().is_empty());
}
