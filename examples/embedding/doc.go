// Package embedding has the lines that put the engine into an MDM server of your
// own, one file for each kind of server. They are meant to be copied: what a server
// gives is named by small types here, so that nothing of the server has to be
// imported. The tests play messages through each of them.
//
// What a server gives and takes, the order of calls, what each error means and what
// to back up: see ../README.md.
package embedding
