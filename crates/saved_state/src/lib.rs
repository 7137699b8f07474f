//! The container of saved state: header, section table, checksums, (kind, version), Save and Restore.
