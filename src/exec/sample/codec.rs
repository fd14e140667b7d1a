//! Samples as bytes, for engines that ship physical plans between processes.

use super::{SampleExec, SampleSpec};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use datafusion::{
    common::{DataFusionError, exec_err, internal_err},
    error::Result,
    execution::TaskContext,
    physical_plan::ExecutionPlan,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Encodes [`SampleExec`]: the receiving process needs the model store and the same build, nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct SynthPhysicalCodec;

#[derive(Serialize, Deserialize)]
struct Shipped {
    sample: SampleSpec,
    projection: Vec<usize>,
    fetch: Option<usize>,
    partitions: usize,
    /// The schema before projection, as an Arrow IPC stream without batches.
    schema: Vec<u8>,
}

impl PhysicalExtensionCodec for SynthPhysicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _context: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !inputs.is_empty() {
            return internal_err!("a sample has no inputs");
        }
        let shipped: Shipped =
            serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let schema = StreamReader::try_new(shipped.schema.as_slice(), None)?.schema();
        let plan = SampleExec::try_new(shipped.sample, &schema, shipped.projection, shipped.fetch, shipped.partitions)?;
        Ok(Arc::new(plan))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(plan) = node.downcast_ref::<SampleExec>() else {
            return exec_err!("{} cannot be shipped to another process", node.name());
        };
        if plan.is_of_segments() {
            return exec_err!("the parents of a related table cannot be shipped to another process");
        }
        let mut schema = Vec::new();
        StreamWriter::try_new(&mut schema, plan.full_schema())?.finish()?;
        let shipped = Shipped {
            sample: plan.spec().clone(),
            projection: plan.projection().to_vec(),
            fetch: plan.fetch(),
            partitions: plan.partitions(),
            schema,
        };
        serde_json::to_writer(bytes, &shipped).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
