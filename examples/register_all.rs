//! SynthoHive in a `SessionContext` that exists already: any DataFusion program gains the functions with one call.
//!
//! ```text
//! cargo run --example register_all
//! ```

use datafusion::{
    error::Result,
    prelude::{SessionConfig, SessionContext},
};

#[tokio::main]
async fn main() -> Result<()> {
    // A context as the program has it, with its own settings.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    synthohive::register_all(&context)?;

    let models = std::env::temp_dir().join(format!("synthohive-register-{}", std::process::id()));
    context.sql(&format!("SET synth.store = '{}'", models.display())).await?.collect().await?;

    let orders = "CREATE TABLE orders AS SELECT
            CASE WHEN value % 4 = 0 THEN 'express' ELSE 'standard' END AS shipping,
            CAST(1 + value * 31 % 9 AS INT) AS items,
            CASE WHEN value % 4 = 0 THEN 9.5 ELSE 0.0 END + value * 31 % 9 * 12.5 AS total
          FROM generate_series(1, 800)";
    context.sql(orders).await?.collect().await?;

    // An aggregate learns, so WHERE and GROUP BY choose what: here one model for each kind of shipping.
    let fit = "SET synth.epochs = 3; SET synth.batch_size = 50";
    for setting in fit.split("; ") {
        context.sql(setting).await?.collect().await?;
    }
    let fitted =
        "SELECT shipping, synth_fit('orders_' || shipping, items, total) AS fitted FROM orders GROUP BY shipping";
    context.sql(fitted).await?.show().await?;

    // What was learned is listed in a table, and generates rows in any query.
    context.sql("SELECT model, version, rows, epochs FROM synth.models ORDER BY model").await?.show().await?;
    context.sql("SELECT * FROM synth_sample('orders_express', 5, seed => 1)").await?.show().await?;

    Ok(std::fs::remove_dir_all(models)?)
}
