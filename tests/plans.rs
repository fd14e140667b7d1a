//! What queries over samples and trainings plan to.
#![allow(clippy::unwrap_used)]

mod support;

use arrow::{array::AsArray, datatypes::Int64Type};
use datafusion::{
    error::Result,
    physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, displayable},
    prelude::{SessionConfig, SessionContext},
};
use std::sync::Arc;
use support::{fault, run, session, trained, whole};

async fn physical(context: &SessionContext, sql: &str) -> Result<(Arc<dyn ExecutionPlan>, String)> {
    let plan = context.sql(sql).await?.create_physical_plan().await?;
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    Ok((plan, shown))
}

async fn two_partitions(store: &std::path::Path) -> Result<SessionContext> {
    trained(store).await?;
    session(store, SessionConfig::new().with_target_partitions(2)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn samples() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = two_partitions(store.path()).await?;
    let mut shown = String::new();
    for sql in [
        "SELECT * FROM synth_sample('people', 1e6)",
        "SELECT age FROM synth_sample('people', rows => 100, seed => 7) LIMIT 10",
        "SELECT region, member FROM SYNTH_SAMPLE('people', 1e5, start => 1e12) WHERE age > 30 LIMIT 5 OFFSET 3",
        "SELECT count(*) FROM synth.sample('people', 1e9)",
        "SELECT max(row_id) FROM synth_sample(people, 1e9, row_id => true)",
        "SELECT row_id, age FROM synth_sample('people', 1e5, row_id => true) ORDER BY row_id",
        "SELECT region, count(*) FROM synth_sample('people', 1e5) GROUP BY region",
        "SELECT member FROM synth_sample('people', 1e5, given => 'age > 30 OR region = ''north''') LIMIT 10",
        "SELECT * FROM synth_train('people', epochs => 3, name => 'other')",
        "SELECT count(*) FROM synth_train('people', epochs => 3) LIMIT 1",
    ] {
        let (_, plan) = physical(&context, sql).await?;
        shown += &format!("{sql}\n{plan}\n");
    }
    insta::assert_snapshot!(shown);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_generates_nothing() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = trained(store.path()).await?;
    let rows = run(&context, "SELECT count(*) FROM synth_sample('people', 1e15)").await?;
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 1_000_000_000_000_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_blocks_and_times() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = two_partitions(store.path()).await?;
    let rows = run(&context, "EXPLAIN ANALYZE SELECT * FROM synth_sample('people', 10000)").await?;
    let text = arrow::util::pretty::pretty_format_batches(&rows)?.to_string();
    for part in ["output_rows=10.00 K", "blocks=3", "time_model=", "time_decode=", "time_waiting="] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_trains_nothing() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = session(store.path(), SessionConfig::new()).await?;
    run(&context, "EXPLAIN SELECT * FROM synth_train('people', epochs => 1)").await?;
    run(&context, "PREPARE later AS SELECT * FROM synth_train('people', epochs => 1)").await?;
    run(&context, "CREATE VIEW progress AS SELECT * FROM synth_train('people', epochs => 1)").await?;
    assert_eq!(std::fs::read_dir(store.path())?.count(), 0, "the store is untouched");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_the_rows_of_a_training_trains() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = session(store.path(), SessionConfig::new()).await?;
    let rows = run(&context, "SELECT count(*) FROM synth_train('people', epochs => 2, batch_size => 200)").await?;
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 3, "two epochs and the stored version");
    run(&context, "SELECT * FROM synth_sample('people', 1)").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_was_shipped_is_the_same_sample() -> Result<()> {
    use datafusion_proto::bytes::{
        physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
    };
    let store = tempfile::tempdir()?;
    let context = two_partitions(store.path()).await?;
    let sql = "SELECT age, region FROM synth_sample('people', 10000, seed => 3) LIMIT 9000";
    let (plan, shown) = physical(&context, sql).await?;
    let codec = synthohive::exec::SynthPhysicalCodec;
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &codec)?;
    let again = physical_plan_from_bytes_with_extension_codec(&bytes, &context.task_ctx(), &codec)?;
    assert_eq!(displayable(again.as_ref()).indent(false).to_string(), shown);
    assert_eq!(again.output_partitioning().partition_count(), plan.output_partitioning().partition_count());
    let sent = whole(&collect(plan, context.task_ctx()).await?);
    let received = whole(&collect(again, context.task_ctx()).await?);
    assert_eq!(sent.num_rows(), received.num_rows());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_too_small_is_a_clear_error() -> Result<()> {
    use datafusion::execution::{memory_pool::GreedyMemoryPool, runtime_env::RuntimeEnvBuilder};
    let store = tempfile::tempdir()?;
    trained(store.path()).await?;
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(10_000))).build_arc()?;
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
    synthohive::functions::register_all(&context)?;
    run(&context, &format!("SET synth.store = '{}'", store.path().display())).await?;
    let message = fault(&context, "SELECT * FROM synth_sample('people', 10)").await;
    assert!(
        message.contains("partition 0 of `people` needs") && message.contains("raise the memory limit"),
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_listed() -> Result<()> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    synthohive::functions::register_all(&context)?;
    for name in ["synth_sample", "synth_train", "synth_fit"] {
        let sql = format!("SELECT routine_name FROM information_schema.routines WHERE routine_name = '{name}'");
        let rows: usize = run(&context, &sql).await?.iter().map(|batch| batch.num_rows()).sum();
        assert!(rows > 0, "{name}");
    }
    Ok(())
}
