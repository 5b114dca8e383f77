// Package freshet is the front door: it holds no code, only the manual's first page.
//
// Freshet keeps what an application reads in its own memory and evicts it when somebody, in any process and any
// language, changes it in Redis. A read is at most MaxStaleness old, or it is not served from memory. A write is visible
// to every read after a Fence. The measured lag is a number you can look at.
//
// Start with [github.com/gofreshet/freshet/adapters/rediscache] for values that live in Redis, with
// [github.com/gofreshet/freshet/cache] for values from anywhere else, and with
// [github.com/gofreshet/freshet/invalidate] for the connection both stand on. Package
// [github.com/gofreshet/freshet/notify] is the event stream alone.
package freshet
