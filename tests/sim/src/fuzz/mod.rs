//! Bodies of the fuzz targets: they compile with the crate, and stable tests replay the corpus through them.

pub mod decode_wire;
pub mod node_frames;
pub mod node_steps;
