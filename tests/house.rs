//! The rules of the house, held by reading the sources: the order of layers, what is absent from them, and the floors
//! and single versions of the dependencies.

#![allow(clippy::unwrap_used)] // All of it is test code; helpers may fail a test too.

mod house {
    pub mod dependencies;
    pub mod layers;
}
