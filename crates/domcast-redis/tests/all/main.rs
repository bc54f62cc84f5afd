//! Servers and Redis as they are: a `redis-server` process for each test, hubs in this process, pages that follow their frames.

#[path = "../../../domcast-push/tests/all/client.rs"]
#[allow(dead_code)]
mod client; // a page: a tree that follows frames
mod between; // servers whose tasks stand still one by one
mod chaos; // Redis and servers that die
mod cluster; // one owner, many replicas
mod conformance; // what every ledger promises, memory and Redis alike
mod forgery; // what others write into Redis
mod pushes; // pushes from anywhere
mod servers; // a Redis process, a server, its pages
