//! The vocabulary of the x86-64 architecture without VMX: registers, control bits, descriptors, page-table entries, MSRs, CPUID leaves. Data only.
