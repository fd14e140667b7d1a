//! Blocks of rows in tiles: what a sampler works on at once, and what its threads share out. Tiles have a fixed size, so
//! neither threads nor partitions can change a bit of the result.

use crate::{
    Result, SynthError,
    encode::{EncodedRows, SubColumnData},
    noise::BLOCK_ROWS,
};
use tch::Device;

/// Rows worked on at once.
pub(super) const TILE: usize = 1024;
/// Tiles of a block.
pub(super) const TILES: usize = BLOCK_ROWS / TILE;

/// Tiles that are not full are padded to a multiple of this many rows.
const PADDING: usize = 64;

/// Where tile `tile` begins in its block.
pub(super) fn first_row(tile: u64) -> usize {
    (tile % TILES as u64) as usize * TILE
}

/// The rows that a tile of `rows` rows is worked on as.
pub(super) fn padded(rows: usize) -> usize {
    rows.next_multiple_of(PADDING).min(TILE)
}

/// How many of a block's `rows` rows are in tile `tile`.
pub(super) fn rows_in(tile: u64, rows: usize) -> usize {
    rows.saturating_sub(first_row(tile)).min(TILE)
}

/// One thread's share of a sampler.
pub(super) trait TileWorker: Send {
    /// The noise of a block.
    type Streams: Sync;

    /// Makes tile `tile` (counted over all blocks).
    fn tile(&mut self, tile: u64, streams: &Self::Streams) -> Result<()>;

    /// The tile made last.
    fn rows(&self) -> &EncodedRows;
}

/// `first` and its twins: as many workers as there are threads for on the CPU, one elsewhere.
pub(super) fn workers<W>(first: W, device: Device, threads: usize, twin: impl Fn(&W) -> Result<W>) -> Result<Vec<W>> {
    let count = if device == Device::Cpu { threads.clamp(1, TILES) } else { 1 };
    let mut workers = (1..count).map(|_| twin(&first)).collect::<Result<Vec<_>>>()?;
    workers.insert(0, first);
    Ok(workers)
}

/// Fills `out` with the tiles of block `block` that its first `rows` rows need, shared out to `workers`.
pub(super) fn sample<W: TileWorker>(
    workers: &mut [W],
    block: u64,
    rows: usize,
    streams: &W::Streams,
    out: &mut EncodedRows,
) -> Result<()> {
    out.clear();
    let (count, tiles) = (workers.len(), rows.div_ceil(TILE).min(TILES));
    for first in (0..tiles).step_by(count.max(1)) {
        let at = block * TILES as u64 + first as u64;
        let busy = count.min(tiles - first);
        let (own, others) = workers[..busy]
            .split_first_mut()
            .ok_or_else(|| SynthError::Internal("a sampler without a worker".to_owned()))?;
        std::thread::scope(|scope| {
            let others = (at + 1..).zip(others);
            let handles: Vec<_> =
                others.map(|(tile, worker)| scope.spawn(move || worker.tile(tile, streams))).collect();
            own.tile(at, streams)?;
            handles.into_iter().try_for_each(|handle| {
                handle.join().map_err(|_| SynthError::Internal("a sampling thread panicked".to_owned()))?
            })
        })?;
        workers[..busy].iter().for_each(|worker| out.extend(worker.rows(), 0..worker.rows().rows));
    }
    Ok(())
}

/// Appends codes to a sub-column, each below its cardinality.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn push_codes(column: &mut SubColumnData, codes: &[u32]) {
    match column {
        SubColumnData::Code8(out) => out.extend(codes.iter().map(|&code| code as u8)),
        SubColumnData::Code16(out) => out.extend(codes.iter().map(|&code| code as u16)),
        SubColumnData::Code32(out) => out.extend_from_slice(codes),
        SubColumnData::Scalar(_) => {}
    }
}
