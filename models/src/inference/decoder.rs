//! The one place that chooses an implementation of the decoder.

use candle_core::Device;

use super::batch::Decoder;
use super::candle_decoder::CandleDecoder;
use super::load::LoadError;
use super::packed_decoder::PackedDecoder;
use super::settings::{Backend, DeviceChoice, EngineSettings};
use super::tensors::TensorSource;
use crate::spec::DecoderSpec;

/// Builds the decoder that the settings name; tensors are read once and not kept.
pub fn build_decoder(
    spec: &DecoderSpec,
    tensors: &mut dyn TensorSource,
    settings: &EngineSettings,
) -> Result<Box<dyn Decoder>, LoadError> {
    let shape = settings.slots();
    match settings.backend {
        Backend::Candle => {
            let device = open_device(settings.device)?;
            Ok(Box::new(CandleDecoder::new(spec.clone(), tensors, shape, &device)?))
        }
        Backend::Packed => Ok(Box::new(PackedDecoder::new(spec.clone(), tensors, shape, settings.threads)?)),
    }
}

/// Opens the device asked for; there is no silent fall-back to the processor.
pub(super) fn open_device(choice: DeviceChoice) -> Result<Device, LoadError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(index) => Device::new_cuda(index)
            .map_err(|error| LoadError::Device { device: format!("cuda:{index}"), fault: error.to_string() }),
    }
}
