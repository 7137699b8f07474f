//! Guest-physical RAM in memory slots, with a dirty log.
