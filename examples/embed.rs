//! A program with SynthoHive inside: builds a session, learns a table, generates from it.
//!
//! ```text
//! cargo run --example embed
//! ```

use synthohive::{Result, session::SynthSession};

/// Readings of 20 sensors: the noisy ones stand outside.
const READINGS: &str = "CREATE TABLE readings AS SELECT
    's' || (value % 20) AS sensor,
    CASE WHEN value % 20 < 5 THEN 'outside' ELSE 'inside' END AS place,
    to_timestamp_seconds(1767225600 + value * 600) AS at,
    round(20 + (value * 7919 % 100) * CASE WHEN value % 20 < 5 THEN 0.2 ELSE 0.05 END, 1) AS celsius
  FROM generate_series(1, 1000)";

#[tokio::main]
async fn main() -> Result<()> {
    // Models go into a folder of their own; without this, into ./synth_models.
    let models = std::env::temp_dir().join(format!("synthohive-embed-{}", std::process::id()));
    let session = SynthSession::builder()
        .with_memory_limit(1 << 30)
        .with_setting("synth.store", models.to_string_lossy())
        .build()?;

    session.sql(READINGS).await?;

    // A training is a query: a row for each epoch, while it runs.
    let training = session.sql("SELECT * FROM synth_train('readings', epochs => 5, batch_size => 100)").await?;
    training.select_columns(&["epoch", "loss", "score", "version"])?.show().await?;

    // So is a sample. The same seed always gives the same rows.
    let sample = session.sql(
        "SELECT place, count(*) AS rows, round(avg(celsius), 1) AS mean, round(stddev(celsius), 1) AS deviation
         FROM synth_sample('readings', 10000, seed => 42) GROUP BY place ORDER BY place",
    );
    sample.await?.show().await?;

    // Statements of SynthoHive's own work as well.
    session.sql("DROP MODEL readings").await?.show().await?;
    std::fs::remove_dir_all(&models)
        .map_err(|source| synthohive::SynthError::Io { context: format!("cannot remove {}", models.display()), source })
}
