//! Stores that cannot be written.

use crate::fake::{checkpoint, files, in_memory, of, open, save};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, path::Path,
};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::SeqCst},
    },
};
use synthohive::SynthError;

/// An object store on a disk with room for `room` more files.
#[derive(Debug)]
struct FullDisk {
    inner: Arc<dyn ObjectStore>,
    room: Arc<AtomicI32>,
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FullDisk")
    }
}

#[async_trait]
impl ObjectStore for FullDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if self.room.fetch_sub(1, SeqCst) <= 0 {
            let source = Box::new(io::Error::from(io::ErrorKind::StorageFull));
            return Err(object_store::Error::Generic { store: "FullDisk", source });
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn says_full(error: &SynthError) {
    let message = error.to_string();
    assert!(matches!(error, SynthError::Store { .. }), "{message}");
    assert!(message.contains("test://store") && message.contains("no storage space"), "{message}");
}

#[tokio::test]
async fn a_disk_that_fills_up_leaves_what_was_there() {
    let (objects, _) = in_memory();
    let room = Arc::new(AtomicI32::new(i32::MAX));
    let store = of(Arc::new(FullDisk { inner: Arc::clone(&objects), room: Arc::clone(&room) }));
    save(&store, "m", 30.0).await.unwrap();
    store.save_checkpoint("m", &serde_json::json!({}), &checkpoint(1, 30.0)).await.unwrap();
    let before = files(&objects).await;
    // Room for nothing, then for the first of the two files of a version or a checkpoint.
    for free in [0, 1] {
        room.store(free, SeqCst);
        says_full(&save(&store, "m", 30.5).await.unwrap_err());
        assert_eq!(files(&objects).await, before);
        room.store(free, SeqCst);
        says_full(&store.save_checkpoint("m", &serde_json::json!({}), &checkpoint(2, 30.5)).await.unwrap_err());
        assert_eq!(files(&objects).await, before);
        assert_eq!(store.load_checkpoint("m").await.unwrap().unwrap().1.epoch, 1);
    }
    room.store(0, SeqCst);
    says_full(&store.check_writable().await.unwrap_err());
    room.store(i32::MAX, SeqCst);
    store.check_writable().await.unwrap();
    assert_eq!(files(&objects).await, before, "the probe stays");
    assert_eq!(save(&store, "m", 30.5).await.unwrap().version, 2);
}

#[tokio::test]
async fn a_store_that_is_no_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    for location in [file.clone(), file.join("below")] {
        let location = location.display().to_string();
        let store = open(&location);
        for error in [store.check_writable().await.unwrap_err(), save(&store, "m", 31.0).await.map(|_| ()).unwrap_err()]
        {
            assert!(matches!(error, SynthError::Store { .. }) && error.to_string().contains(&location), "{error}");
        }
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
}
