// Package operator is what the programs that people operate have in common:
// private files, the address of a database, and texts for the audit.
package operator
