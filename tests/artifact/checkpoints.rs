use crate::fake::{checkpoint, files, in_memory, open, save};
use futures::future::join_all;
use object_store::{ObjectStoreExt, path::Path};
use serde_json::json;

#[tokio::test]
async fn the_latest_checkpoint_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().display().to_string());
    assert!(store.load_checkpoint("m").await.unwrap().is_none());
    let spec = json!({"kind": "fake", "options": {"epochs": 30}});
    for epoch in 1..=3_u8 {
        store.save_checkpoint("m", &spec, &checkpoint(epoch.into(), f32::from(epoch))).await.unwrap();
    }
    let (loaded_spec, loaded) = open(&folder.path().display().to_string()).load_checkpoint("m").await.unwrap().unwrap();
    assert_eq!((loaded_spec, loaded.epoch, loaded.state), (spec, 3, checkpoint(3, 3.0).state));
    assert_eq!(std::fs::read_dir(folder.path().join("m/checkpoint")).unwrap().count(), 2, "old states stay");
    assert!(store.list().await.unwrap().is_empty(), "a checkpoint is no version");

    store.drop_checkpoint("m").await.unwrap();
    assert!(store.load_checkpoint("m").await.unwrap().is_none());
    assert!(!folder.path().join("m").exists());
    store.drop_checkpoint("m").await.unwrap();
}

#[tokio::test]
async fn versions_and_checkpoints_live_side_by_side() {
    let (objects, store) = in_memory();
    store.save_checkpoint("m", &json!({}), &checkpoint(1, 41.0)).await.unwrap();
    assert_eq!(save(&store, "m", 40.0).await.unwrap().version, 1);
    store.drop_model("m", None).await.unwrap();
    assert_eq!(files(&objects).await.len(), 2);
    assert_eq!(store.load_checkpoint("m").await.unwrap().unwrap().1.epoch, 1);
}

#[tokio::test]
async fn a_crash_between_the_files_leaves_the_earlier_checkpoint() {
    let (objects, store) = in_memory();
    store.save_checkpoint("m", &json!({}), &checkpoint(1, 42.0)).await.unwrap();
    let orphan = Path::from("models/m/checkpoint/00000000-0000-4000-8000-000000000000.safetensors");
    objects.put(&orphan, "cut off".into()).await.unwrap();
    assert_eq!(store.load_checkpoint("m").await.unwrap().unwrap().1.state, checkpoint(1, 42.0).state);
    store.drop_checkpoint("m").await.unwrap();
    assert!(files(&objects).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_checkpoints_never_mix() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().display().to_string());
    store.save_checkpoint("m", &json!(0), &checkpoint(0, 0.0)).await.unwrap();
    let writers = (1..=8_u8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let checkpoint = checkpoint(writer.into(), f32::from(writer));
            store.save_checkpoint("m", &json!(writer), &checkpoint).await.unwrap();
            let (spec, read) = store.load_checkpoint("m").await.unwrap().unwrap();
            assert_eq!(spec, json!(read.epoch));
            assert_eq!(read.state.tensors["layer.0.weight"].data[0], read.epoch as f32);
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
}

#[tokio::test]
async fn a_pointer_to_elsewhere_is_refused() {
    let (objects, store) = in_memory();
    store.save_checkpoint("m", &json!({}), &checkpoint(1, 43.0)).await.unwrap();
    store.save_checkpoint("n", &json!({}), &checkpoint(2, 43.0)).await.unwrap();
    let copied = objects.get(&Path::from("models/n/checkpoint/manifest.json")).await.unwrap().bytes().await.unwrap();
    objects.put(&Path::from("models/m/checkpoint/manifest.json"), copied.into()).await.unwrap();
    let error = store.load_checkpoint("m").await.unwrap_err().to_string();
    assert!(error.contains("m/checkpoint/manifest.json") && error.contains("`n`"), "{error}");
    // A new checkpoint mends it.
    store.save_checkpoint("m", &json!({}), &checkpoint(3, 43.0)).await.unwrap();
    assert_eq!(store.load_checkpoint("m").await.unwrap().unwrap().1.epoch, 3);
}
