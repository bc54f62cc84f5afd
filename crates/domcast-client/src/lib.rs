//! The browser half of domcast: applies patches to a live page.
