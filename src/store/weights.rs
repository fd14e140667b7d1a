//! `weights.safetensors`: named f32 tensors, little-endian, in the safetensors format.

use crate::{Result, SynthError, models::HostTensor};
use safetensors::{Dtype, SafeTensors, View};
use std::{borrow::Cow, collections::BTreeMap};

struct Little<'a>(&'a HostTensor);

impl View for Little<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.data.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.data.as_slice())
    }
}

/// The file that holds `tensors`: the same bytes for the same tensors.
pub(super) fn encode(tensors: &BTreeMap<String, HostTensor>) -> Result<Vec<u8>> {
    for (name, HostTensor { shape, data }) in tensors {
        let elements = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
        if elements != Some(data.len()) {
            return Err(SynthError::Internal(format!("tensor `{name}` of shape {shape:?} has {} values", data.len())));
        }
    }
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (name, Little(tensor))), None)
        .map_err(|error| SynthError::Internal(format!("weights cannot be written: {error}")))
}

/// The tensors of the file at `path`. Allocates no more than the file is long, whatever its header says.
pub(super) fn decode(path: &str, file: &[u8]) -> Result<BTreeMap<String, HostTensor>> {
    let damaged = |reason: String| SynthError::Artifact { path: path.to_owned(), reason };
    let tensors = SafeTensors::deserialize(file).map_err(|error| damaged(error.to_string()))?;
    tensors
        .iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor `{name}` is of type {:?}, expected F32", view.dtype())));
            }
            let values = view.data().chunks_exact(size_of::<f32>());
            let data = values.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
            Ok((name.to_owned(), HostTensor { shape: view.shape().to_vec(), data }))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::{collection, prelude::*};

    fn bits(tensors: &BTreeMap<String, HostTensor>) -> Vec<(&String, &Vec<usize>, Vec<u32>)> {
        tensors.iter().map(|(n, t)| (n, &t.shape, t.data.iter().map(|v| v.to_bits()).collect())).collect()
    }

    fn tensors() -> impl Strategy<Value = BTreeMap<String, HostTensor>> {
        let tensor = (0_usize..4, 0_usize..5).prop_flat_map(|(rows, columns)| {
            // Any bits, so NaN payloads, infinities and negative zeros too.
            collection::vec(any::<u32>(), rows * columns).prop_map(move |bits| HostTensor {
                shape: vec![rows, columns],
                data: bits.into_iter().map(f32::from_bits).collect(),
            })
        });
        collection::btree_map("[a-z.0-9é]{1,8}", tensor, 0..6)
    }

    proptest! {
        #[test]
        fn round_trip_keeps_every_bit(tensors in tensors()) {
            let file = encode(&tensors).unwrap();
            prop_assert_eq!(&file, &encode(&tensors.clone()).unwrap());
            let back = decode("weights", &file).unwrap();
            prop_assert_eq!(bits(&tensors), bits(&back));
        }

        #[test]
        fn arbitrary_bytes_are_an_error_not_a_panic(bytes in collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = decode("the/weights", &bytes) {
                prop_assert!(error.to_string().contains("the/weights"));
            }
        }
    }

    #[test]
    fn headers_that_promise_too_much_are_refused() {
        for promised in [u64::MAX, 1 << 40, 99_000_000, 200] {
            let file = [&promised.to_le_bytes()[..], b"{}"].concat();
            assert!(decode("weights", &file).is_err(), "{promised}");
        }
        let header = r#"{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        assert!(decode("weights", &file).is_err());
    }

    #[test]
    fn other_types_and_wrong_shapes_are_refused() {
        let header = r#"{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 0]].concat();
        assert!(decode("weights", &file).unwrap_err().to_string().contains("F16"));
        let wrong = BTreeMap::from([("w".to_owned(), HostTensor { shape: vec![2, 2], data: vec![0.0; 3] })]);
        assert!(encode(&wrong).unwrap_err().to_string().contains("`w`"));
    }
}
