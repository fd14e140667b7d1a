//! A kind of model of one's own: every column by itself, at its frequencies. As a baseline it shows what a model that
//! learns dependences is worth.
//!
//! ```text
//! cargo run --example own_model
//! ```

use std::sync::Arc;
use synthohive::{
    Result, SynthError,
    encode::{EncodedRows, Layout, Scheme, SubColumn},
    models::{
        self, BlockSampler, Checkpoint, FitObserver, FitOptions, FitReport, Fitted, HostTensor, ModelKind, ModelState,
        OptionSpec, SamplerSettings, TableModel, TrainingData,
    },
    noise::{BLOCK_ROWS, Noise},
    session::SynthSession,
};

/// The kind: what SQL calls it, how it is fitted, how it is loaded.
#[derive(Debug)]
struct Marginals;

/// A trained one: per sub-column, the cumulated frequencies of its codes.
#[derive(Debug)]
struct Frequencies {
    layout: Layout,
    cumulated: Vec<Vec<f32>>,
}

impl ModelKind for Marginals {
    fn name(&self) -> &'static str {
        "marginals"
    }

    fn description(&self) -> &'static str {
        "every column by itself"
    }

    /// Numbers come as codes, so there are no scalars to deal with.
    fn scheme(&self) -> Scheme {
        Scheme::Codes
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn fit(
        &self,
        data: &TrainingData<'_>,
        _options: &FitOptions,
        _resume: Option<&Checkpoint>,
        _observer: &mut dyn FitObserver,
    ) -> Result<Fitted> {
        let unit = 1.0 / data.rows.len() as f32;
        let every: Vec<u32> = (0..data.rows.len() as u32).collect();
        let mut cumulated = Vec::new();
        for (subcolumn, kind) in data.layout.subcolumns.iter().enumerate() {
            let SubColumn::Code { cardinality, .. } = *kind else { continue };
            let mut frequencies = vec![0.0; cardinality as usize];
            data.rows.for_each_code(subcolumn, &every, |_, code| frequencies[code as usize] += unit);
            let mut sum = 0.0;
            frequencies.iter_mut().for_each(|frequency| {
                sum += *frequency;
                *frequency = sum;
            });
            cumulated.push(frequencies);
        }
        let model = Frequencies { layout: data.layout.clone(), cumulated };
        let report = FitReport { rows: data.rows.len() as u64, epochs: 1, best_epoch: 1, ..FitReport::default() };
        Ok(Fitted { model: Arc::new(model), report })
    }

    fn load(&self, layout: &Layout, state: ModelState) -> Result<Arc<dyn TableModel>> {
        let of = |(index, kind): (usize, &SubColumn)| {
            let name = format!("cumulated.{index}");
            let damaged = || SynthError::Artifact { path: "weights.safetensors".to_owned(), reason: name.clone() };
            let tensor = state.tensors.get(&name).ok_or_else(damaged)?;
            match kind {
                SubColumn::Code { cardinality, .. } if tensor.data.len() == *cardinality as usize => {
                    Ok(tensor.data.clone())
                }
                _ => Err(damaged()),
            }
        };
        let cumulated = layout.subcolumns.iter().enumerate().map(of).collect::<Result<_>>()?;
        Ok(Arc::new(Frequencies { layout: layout.clone(), cumulated }))
    }
}

impl TableModel for Frequencies {
    fn state(&self) -> Result<ModelState> {
        let tensor = |(index, data): (usize, &Vec<f32>)| {
            (format!("cumulated.{index}"), HostTensor { shape: vec![data.len()], data: data.clone() })
        };
        let tensors = self.cumulated.iter().enumerate().map(tensor).collect();
        Ok(ModelState { settings: serde_json::Value::Null, tensors })
    }

    fn sampler(&self, _settings: &SamplerSettings) -> Result<Box<dyn BlockSampler>> {
        Ok(Box::new(Frequencies { layout: self.layout.clone(), cumulated: self.cumulated.clone() }))
    }

    fn sampler_memory(&self) -> usize {
        self.cumulated.iter().map(|codes| 4 * codes.len()).sum()
    }
}

impl BlockSampler for Frequencies {
    /// A pure function of the model, the noise and the block: noise is addressed, never drawn in turn.
    fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()> {
        out.clear();
        let mut uniform = vec![0f32; BLOCK_ROWS];
        for (index, cumulated) in self.cumulated.iter().enumerate() {
            noise.purpose(&format!("marginals/{index}")).fill_uniform(block, &mut uniform);
            let last = cumulated.len().saturating_sub(1);
            for uniform in &uniform {
                let code = cumulated.partition_point(|sum| sum <= uniform).min(last);
                out.subcolumns[index].push_code(code as u32);
            }
        }
        out.rows = BLOCK_ROWS;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    models::register(&Marginals)?;
    let store = std::env::temp_dir().join(format!("synthohive-own-model-{}", std::process::id()));
    let session = SynthSession::builder().with_setting("synth.store", store.to_string_lossy()).build()?;
    session
        .sql(
            "CREATE TABLE weather AS SELECT CASE WHEN v % 3 = 0 THEN 'snow' ELSE 'sun' END AS sky,
                CASE WHEN v % 3 = 0 THEN 'cold' ELSE 'warm' END AS air FROM generate_series(1, 3000) AS series(v)",
        )
        .await?;
    for model in ["marginals", "argn"] {
        session
            .sql(&format!("SELECT * FROM synth_train('weather', model => '{model}', name => '{model}')"))
            .await?
            .collect()
            .await?;
        println!("{model}: how often snow falls from a warm sky");
        let rows = format!(
            "SELECT avg(CAST(sky = 'snow' AND air = 'warm' AS INT)) AS share FROM synth_sample('{model}', 10000)"
        );
        session.sql(&rows).await?.show().await?;
    }
    std::fs::remove_dir_all(&store)
        .map_err(|source| SynthError::Io { context: format!("cannot remove {}", store.display()), source })
}
