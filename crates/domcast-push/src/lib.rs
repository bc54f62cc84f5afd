//! Views that stay live: state, handlers and ticks in, numbered patches out.
