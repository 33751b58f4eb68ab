// Package conformance tests a whole Strata node over HTTP: what DICOM PS3.18
// asks of an origin server, and what real clients and real files ask of it.
package conformance
