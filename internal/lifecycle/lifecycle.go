// Package lifecycle carries out the rules of package rule, and says beforehand what
// that comes to.
package lifecycle
