//! The channel layer over Redis: pushes from any process reach every server.
