//! Flipped bits and missing bytes, in every file, at many places: always an error that names the file.

use crate::fake::{checkpoint, files, in_memory, save};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use synthohive::{Result, SynthError, schema::ColumnRole, store::ModelStore};

/// Every damaged form of `file` that is tried: a flipped bit at each of the first bytes, at the last ones and at 300 places
/// between; cut off at every length near the ends and at a stride between; a byte too many; empty.
fn damaged(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let length = file.len();
    let mut places: Vec<usize> = (0..length.min(400)).chain(length.saturating_sub(40)..length).collect();
    places.extend((0..300).map(|_| rng.random_range(0..length)));
    let flipped = places.into_iter().map(|at| {
        let mut bytes = file.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let near_ends = (0..length.min(120)).chain(length.saturating_sub(40)..length);
    let cuts = near_ends.chain((0..length).step_by(37)).map(|length| file[..length].to_vec());
    flipped.chain(cuts).chain([[file, b"\0"].concat(), [file, b" "].concat()]).collect()
}

async fn read(objects: &Arc<dyn ObjectStore>, file: &str) -> Vec<u8> {
    objects.get(&Path::from(file)).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn write(objects: &Arc<dyn ObjectStore>, file: &str, bytes: Vec<u8>) {
    objects.put(&Path::from(file), bytes.into()).await.unwrap();
}

/// Whether `used` fails on every damaged form of `file` with an error that names it, and works on the sound one.
async fn every_damage_is_noticed(objects: &Arc<dyn ObjectStore>, file: &str, used: impl AsyncFn() -> Result<()>) {
    let sound = read(objects, file).await;
    let name = file.rsplit('/').next().unwrap();
    let forms = damaged(&sound);
    assert!(forms.len() > 500);
    for form in forms {
        let length = form.len();
        write(objects, file, form).await;
        match used().await {
            Err(error @ SynthError::Artifact { .. }) => {
                let message = error.to_string();
                assert!(message.contains("test://store/") && message.contains(name), "{message}");
            }
            other => panic!("{file}, {length} of {} bytes: {other:?}", sound.len()),
        }
    }
    objects.delete(&Path::from(file)).await.unwrap();
    assert!(!matches!(used().await, Err(SynthError::Internal(_))));
    write(objects, file, sound).await;
    used().await.unwrap();
}

#[tokio::test]
async fn of_a_manifest() {
    let (objects, store) = in_memory();
    save(&store, "m", 20.0).await.unwrap();
    every_damage_is_noticed(&objects, "models/m/1/manifest.json", async || store.load("m", None).await.map(|_| ()))
        .await;
}

#[tokio::test]
async fn of_weights() {
    let (objects, store) = in_memory();
    save(&store, "m", 21.0).await.unwrap();
    every_damage_is_noticed(&objects, "models/m/1/weights.safetensors", async || {
        store.load("m", None).await.map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn of_a_checkpoint() {
    let (objects, store) = in_memory();
    store.save_checkpoint("m", &serde_json::json!({"kind": "fake"}), &checkpoint(3, 22.0)).await.unwrap();
    let files = files(&objects).await;
    assert_eq!(files.len(), 2);
    for file in files {
        every_damage_is_noticed(&objects, &file, async || store.load_checkpoint("m").await.map(|_| ())).await;
    }
}

#[tokio::test]
async fn of_declared_roles() {
    let (objects, store) = in_memory();
    let declare = |table: &'static str| {
        store.change_roles(move |roles| {
            for column in (0..20).map(|i| format!("column_{i}")) {
                roles.entry(table.into()).or_default().insert(column, ColumnRole::Exclude);
            }
        })
    };
    declare("orders").await.unwrap();
    every_damage_is_noticed(&objects, "models/columns.json", async || store.roles_for("orders").await.map(|_| ()))
        .await;
    // Damage is never overwritten by a change.
    write(&objects, "models/columns.json", b"{}".to_vec()).await;
    assert!(declare("customers").await.is_err());
    assert_eq!(read(&objects, "models/columns.json").await, b"{}");
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (objects, store) = in_memory();
    save(&store, "m", 23.0).await.unwrap();
    objects.delete(&Path::from("models/m/1/weights.safetensors")).await.unwrap();
    let error = store.load("m", None).await.unwrap_err().to_string();
    assert_eq!(error, "damaged model artifact: test://store/m/1/weights.safetensors: it is missing");
}

#[tokio::test]
async fn one_damaged_version_hides_no_other_and_can_be_dropped() {
    let (objects, store) = in_memory();
    for (name, weight) in [("a", 24.0), ("b", 24.1), ("b", 24.2)] {
        save(&store, name, weight).await.unwrap();
    }
    write(&objects, "models/b/2/manifest.json", b"garbage".to_vec()).await;
    assert!(store.list().await.unwrap_err().to_string().contains("b/2/manifest.json"));
    assert!(store.load("b", None).await.is_err(), "the newest is damaged: no silent step back");
    store.load("b", Some(1)).await.unwrap();
    store.load("a", None).await.unwrap();
    let readable: Vec<_> =
        store.versions().await.unwrap().iter().map(|v| (v.version, v.current, v.manifest.is_ok())).collect();
    assert_eq!(readable, [(1, true, true), (1, false, true), (2, true, false)]);
    assert_eq!(store.drop_model("b", Some(2)).await.unwrap(), 1);
    assert_eq!(store.manifest("b", None).await.unwrap().version, 1);
}

/// The manifest of version 1 of `m` with `from` replaced by `to`, and a checksum that fits.
async fn forge(objects: &Arc<dyn ObjectStore>, from: &str, to: &str) {
    let file = "models/m/1/manifest.json";
    let text = String::from_utf8(read(objects, file).await).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    assert!(body.contains(from), "{body}");
    let body = body.replacen(from, to, 1);
    let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    write(objects, file, format!("{{\"sha256\":\"{digest}\",\n{body}").into_bytes()).await;
}

async fn forged(weight: f32, from: &str, to: &str) -> (ModelStore, String) {
    let (objects, store) = in_memory();
    save(&store, "m", weight).await.unwrap();
    forge(&objects, from, to).await;
    let error = store.load("m", None).await.unwrap_err();
    assert!(matches!(error, SynthError::Artifact { .. }), "{error}");
    (store, error.to_string())
}

#[tokio::test]
async fn a_manifest_of_the_future_says_which_formats_are_read() {
    let (_, error) = forged(25.0, "\"format\": 2", "\"format\": 3").await;
    assert!(error.contains("format version 3, this build reads versions 2 to 2"), "{error}");
}

#[tokio::test]
async fn an_unknown_kind_lists_the_known_ones() {
    let (store, error) = forged(26.0, "\"kind\": \"fake\"", "\"kind\": \"oracle\"").await;
    assert!(error.contains("`oracle`") && error.contains("ctgan"), "{error}");
    assert_eq!(store.list().await.unwrap().len(), 1, "it can still be listed");
}

#[tokio::test]
async fn a_manifest_in_the_wrong_folder_is_refused() {
    let (_, error) = forged(27.0, "\"name\": \"m\"", "\"name\": \"n\"").await;
    assert!(error.contains("it describes version 1 of `n`"), "{error}");
}
