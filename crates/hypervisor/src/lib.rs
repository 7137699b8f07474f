//! L0: virtual machines and virtual processors, in the shape of KVM's API.

pub mod lapic;
