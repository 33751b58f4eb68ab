// Package dark tests what a revocation means, on servers as they are run: how soon
// nothing more is given or taken when a key is taken away at any of its homes, that
// nothing readable is left in any file, log or metric, and what the memory of the
// processes still holds.
package dark
