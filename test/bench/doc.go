// Package bench measures what no single package can: Strata over a store that is
// far away.
package bench
