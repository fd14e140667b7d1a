use crate::fake::{self, Fake, encoder, files, in_memory, open, save};
use futures::future::join_all;
use object_store::{ObjectStoreExt, path::Path};
use rstest::rstest;
use std::{collections::BTreeSet, sync::Arc};
use synthohive::{SynthError, store::ModelStore};

#[tokio::test]
async fn what_was_saved_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("not/yet/there").display().to_string();
    let store = open(&location);
    assert!(store.list().await.unwrap().is_empty());

    let saved = save(&store, "orders", 1.0).await.unwrap();
    let loaded = open(&location).load("orders", None).await.unwrap();
    assert_eq!(serde_json::to_value(&*loaded.manifest).unwrap(), serde_json::to_value(&*saved).unwrap());
    assert_eq!(loaded.model.state().unwrap(), Fake::new(1.0).0);
    assert_eq!((saved.version, saved.kind.as_str(), &saved.report), (1, "fake", &fake::report()));
    assert_eq!(loaded.manifest.encoder.schema(), encoder().schema());
    assert_eq!(loaded.manifest.encoder.layout(), encoder().layout());
    assert!(chrono::DateTime::parse_from_rfc3339(&saved.created).is_ok());
    for library in ["synthohive", "datafusion", "arrow", "libtorch"] {
        assert!(saved.libraries.contains_key(library), "{library}");
    }
    let on_disk = folder.path().join("not/yet/there/orders/1");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(on_disk.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["content"]["name"], "orders");
    assert!(on_disk.join("weights.safetensors").is_file());
}

#[tokio::test]
async fn the_content_hash_depends_on_what_rows_depend_on() {
    let (_, store) = in_memory();
    let first = save(&store, "a", 2.0).await.unwrap();
    let again = save(&store, "a", 2.0).await.unwrap();
    let elsewhere = save(&store, "b", 2.0).await.unwrap();
    let other_weights = save(&store, "a", 2.5).await.unwrap();
    let mut model = Fake::new(2.0);
    model.0.settings["latent"] = 64.into();
    let other_settings = fake::save_as(&store, "a", &model).await.unwrap();

    assert_eq!([first.version, again.version, other_weights.version, other_settings.version], [1, 2, 3, 4]);
    assert_eq!(first.content_hash, again.content_hash);
    assert_eq!(first.content_hash, elsewhere.content_hash);
    let distinct: BTreeSet<_> = [&first, &other_weights, &other_settings].map(|m| &m.content_hash).into();
    assert_eq!(distinct.len(), 3);

    let [one, two] = [store.load("a", Some(1)).await.unwrap(), store.load("b", None).await.unwrap()];
    assert!(Arc::ptr_eq(&one.model, &two.model), "one model, loaded twice");
    assert_eq!((one.manifest.name.as_str(), two.manifest.name.as_str()), ("a", "b"));
}

#[tokio::test]
async fn the_newest_is_current_and_a_version_can_be_chosen() {
    let (_, store) = in_memory();
    for weight in [3.0, 3.1, 3.2] {
        save(&store, "m", weight).await.unwrap();
    }
    assert_eq!(store.load("m", None).await.unwrap().model.state().unwrap(), Fake::new(3.2).0);
    assert_eq!(store.load("m", Some(2)).await.unwrap().model.state().unwrap(), Fake::new(3.1).0);
    let current: Vec<_> = store.versions().await.unwrap().iter().map(|v| (v.version, v.current)).collect();
    assert_eq!(current, [(1, false), (2, false), (3, true)]);
}

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_savers_get_versions_of_their_own(#[case] on_disk: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = if on_disk { open(&folder.path().display().to_string()) } else { in_memory().1 };
    let savers = (0..12_u8).map(|saver| {
        let store = store.clone();
        tokio::spawn(async move { save(&store, "m", 100.0 + f32::from(saver)).await.unwrap() })
    });
    let saved: Vec<_> = join_all(savers).await.into_iter().map(Result::unwrap).collect();
    let versions: BTreeSet<u32> = saved.iter().map(|manifest| manifest.version).collect();
    assert_eq!(versions, (1..=12).collect());
    for manifest in saved {
        let loaded = store.load("m", Some(manifest.version)).await.unwrap();
        assert_eq!(loaded.manifest.content_hash, manifest.content_hash);
    }
}

#[tokio::test]
async fn a_claim_without_manifest_is_no_version_and_its_number_is_skipped() {
    let (objects, store) = in_memory();
    save(&store, "m", 4.0).await.unwrap();
    objects.put(&Path::from("models/m/2/weights.safetensors"), "cut off".into()).await.unwrap();
    assert_eq!(store.manifest("m", None).await.unwrap().version, 1);
    assert!(matches!(store.load("m", Some(2)).await, Err(SynthError::NotFound { .. })));
    assert_eq!(save(&store, "m", 4.1).await.unwrap().version, 3);
    assert_eq!(store.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn files_of_others_are_left_alone() {
    let (objects, store) = in_memory();
    save(&store, "m", 5.0).await.unwrap();
    let others = ["readme.md", "m/notes.txt", "m/01/manifest.json", "m/v2/manifest.json", ".git/1/manifest.json"];
    for file in others {
        objects.put(&Path::from(format!("models/{file}")), "mine".into()).await.unwrap();
    }
    assert_eq!(store.list().await.unwrap().len(), 1);
    store.drop_model("m", None).await.unwrap();
    assert_eq!(files(&objects).await.len(), others.len());
}

#[tokio::test]
async fn a_replaced_manifest_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().display().to_string());
    let first = save(&store, "m", 6.0).await.unwrap();
    assert_eq!(store.manifest("m", None).await.unwrap().content_hash, first.content_hash);
    store.drop_model("m", None).await.unwrap();
    let second = save(&store, "m", 6.5).await.unwrap();
    assert_eq!((first.version, second.version), (1, 1));
    assert_eq!(store.manifest("m", Some(1)).await.unwrap().content_hash, second.content_hash);
    assert_eq!(store.load("m", None).await.unwrap().model.state().unwrap(), Fake::new(6.5).0);
}

#[tokio::test]
async fn dropping_removes_one_version_or_all_and_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().display().to_string());
    for weight in [7.0, 7.1, 7.2] {
        save(&store, "m", weight).await.unwrap();
    }
    save(&store, "other", 7.3).await.unwrap();
    assert_eq!(store.drop_model("m", Some(3)).await.unwrap(), 1);
    assert_eq!(store.manifest("m", None).await.unwrap().version, 2);
    let error = store.drop_model("m", Some(9)).await.unwrap_err().to_string();
    assert_eq!(error, "version `m 9` not found; there are: 1, 2");
    assert_eq!(store.drop_model("m", None).await.unwrap(), 2);
    assert!(!folder.path().join("m").exists(), "the folder stays");
    for result in [store.drop_model("m", None).await.map(|_| ()), store.load("m", None).await.map(|_| ())] {
        assert_eq!(result.unwrap_err().to_string(), "model `m` not found; there are: other");
    }
}

#[rstest]
#[case("../escape")]
#[case("/etc")]
#[case("")]
#[case(".hidden")]
#[case("a\u{7}b")]
#[case("columns.json")]
#[tokio::test]
async fn bad_names_are_refused_everywhere(#[case] name: &str) {
    let (objects, store) = in_memory();
    let spec = serde_json::json!({});
    let results = [
        save(&store, name, 8.0).await.map(|_| ()),
        store.load(name, None).await.map(|_| ()),
        store.manifest(name, Some(1)).await.map(|_| ()),
        store.drop_model(name, None).await.map(|_| ()),
        store.save_checkpoint(name, &spec, &fake::checkpoint(1, 8.0)).await,
        store.load_checkpoint(name).await.map(|_| ()),
        store.drop_checkpoint(name).await,
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error, SynthError::Name { .. }), "{error}");
        assert!(error.to_string().contains("accepted are 1 to 128 characters"), "{error}");
    }
    assert!(files(&objects).await.is_empty());
}

#[tokio::test]
async fn names_are_kept_as_given() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().display().to_string());
    for name in ["Orders 2024.v1", "ärzte_北京"] {
        save(&store, name, 9.0).await.unwrap();
        assert!(folder.path().join(name).join("1/manifest.json").is_file(), "{name}");
    }
    let names: Vec<_> = store.list().await.unwrap().iter().map(|manifest| manifest.name.clone()).collect();
    assert_eq!(names, ["Orders 2024.v1", "ärzte_北京"]);
    assert_eq!(store.load("ärzte_北京", None).await.unwrap().manifest.version, 1);
}

#[tokio::test]
async fn memory_stores_are_shared_by_url() {
    save(&open("memory:///versions/shared"), "m", 10.0).await.unwrap();
    assert_eq!(ModelStore::open("memory:///versions/shared").unwrap().list().await.unwrap().len(), 1);
    assert!(ModelStore::open("memory:///versions/other").unwrap().list().await.unwrap().is_empty());
}
