//! A model of a few numbers, stored like any other.

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use object_store::{ObjectStore, memory::InMemory, path::Path};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};
use synthohive::{
    Result, SynthError,
    encode::{Layout, Scheme, TableEncoder, TableProfile},
    models::{
        BlockSampler, Checkpoint, FitObserver, FitOptions, FitReport, Fitted, HostTensor, ModelKind, ModelState,
        OptionSpec, SamplerSettings, TableModel, TrainingData,
    },
    store::{Manifest, ModelStore, NewModel},
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fake(pub(crate) ModelState);

impl Fake {
    /// A model whose weights depend on `weight`.
    pub(crate) fn new(weight: f32) -> Self {
        let matrix = HostTensor { shape: vec![3, 4], data: (0..12_u8).map(|i| weight + f32::from(i) / 7.0).collect() };
        let bias = HostTensor { shape: vec![2], data: vec![f32::MIN_POSITIVE, -0.0] };
        let tensors = BTreeMap::from([("layer.0.weight".into(), matrix), ("layer.0.bias".into(), bias)]);
        Self(ModelState { settings: serde_json::json!({"latent": 128, "activation": "gelu"}), tensors })
    }
}

impl TableModel for Fake {
    fn state(&self) -> Result<ModelState> {
        Ok(self.0.clone())
    }

    fn sampler(&self, _: &SamplerSettings) -> Result<Box<dyn BlockSampler>> {
        Err(SynthError::Model("a fake cannot sample".into()))
    }

    fn sampler_memory(&self) -> usize {
        0
    }
}

#[derive(Debug)]
struct FakeKind;

impl ModelKind for FakeKind {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn description(&self) -> &'static str {
        "a few numbers"
    }

    fn scheme(&self) -> Scheme {
        Scheme::ModeSpecific
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn fit(
        &self,
        _: &TrainingData<'_>,
        _: &FitOptions,
        _: Option<&Checkpoint>,
        _: &mut dyn FitObserver,
    ) -> Result<Fitted> {
        Err(SynthError::Model("a fake cannot learn".into()))
    }

    fn load(&self, layout: &Layout, state: ModelState) -> Result<Arc<dyn TableModel>> {
        assert_eq!(layout.columns.len(), 3);
        Ok(Arc::new(Fake(state)))
    }
}

fn kinds(name: &str) -> Result<&'static dyn ModelKind> {
    if name == "fake" { Ok(&FakeKind) } else { synthohive::models::kind(name) }
}

/// The store at `location`, which knows the fake.
pub(crate) fn open(location: &str) -> ModelStore {
    ModelStore::open(location).unwrap().with_kinds(kinds)
}

pub(crate) fn of(objects: Arc<dyn ObjectStore>) -> ModelStore {
    ModelStore::with_objects("test://store", objects, Path::from("models")).with_kinds(kinds)
}

/// A store in memory of its own.
pub(crate) fn in_memory() -> (Arc<dyn ObjectStore>, ModelStore) {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (Arc::clone(&objects), of(objects))
}

/// An encoder fitted on a small table: a number, an integer and a category with nulls.
pub(crate) fn encoder() -> &'static TableEncoder {
    static ENCODER: OnceLock<TableEncoder> = OnceLock::new();
    ENCODER.get_or_init(|| {
        let amounts = Float64Array::from_iter_values((0..500_u32).map(|i| f64::from(i * i % 977) / 3.0));
        let ages = Int64Array::from_iter_values((0..500).map(|i| 18 + i % 61));
        let tiers = StringArray::from_iter((0..500).map(|i| ["gold", "silver", "none"].get(i % 4).copied()));
        let columns: Vec<ArrayRef> = vec![Arc::new(amounts), Arc::new(ages), Arc::new(tiers)];
        let schema = Arc::new(Schema::new(vec![
            Field::new("amount", DataType::Float64, false),
            Field::new("age", DataType::Int64, false),
            Field::new("tier", DataType::Utf8, true),
        ]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let mut profile = TableProfile::new(schema, &BTreeMap::new()).unwrap();
        profile.update(&batch).unwrap();
        profile.finish(Scheme::ModeSpecific, 1).unwrap()
    })
}

pub(crate) fn report() -> FitReport {
    FitReport { rows: 500, epochs: 30, best_epoch: 27, score: 0.915, seconds: 1.25, recoveries: 1 }
}

pub(crate) async fn save_as(store: &ModelStore, name: &str, model: &dyn TableModel) -> Result<Arc<Manifest>> {
    save_from(store, name, "orders", model).await
}

/// Saves a model that was learned from `source`.
pub(crate) async fn save_from(
    store: &ModelStore,
    name: &str,
    source: &str,
    model: &dyn TableModel,
) -> Result<Arc<Manifest>> {
    let options = FitOptions { epochs: Some(30), seed: 7, ..FitOptions::default() };
    let (encoder, report) = (encoder(), &report());
    store
        .save(NewModel { name, kind: "fake", source, encoder, relations: None, model, options: &options, report })
        .await
}

pub(crate) async fn save(store: &ModelStore, name: &str, weight: f32) -> Result<Arc<Manifest>> {
    save_as(store, name, &Fake::new(weight)).await
}

pub(crate) fn checkpoint(epoch: u32, weight: f32) -> Checkpoint {
    Checkpoint { epoch, state: Fake::new(weight).0 }
}

/// The paths of all files, below the root of the object store.
pub(crate) async fn files(objects: &Arc<dyn ObjectStore>) -> Vec<String> {
    use futures::TryStreamExt;
    let mut files: Vec<String> =
        objects.list(None).map_ok(|file| file.location.to_string()).try_collect().await.unwrap();
    files.sort();
    files
}
