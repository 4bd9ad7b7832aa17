// Package inventory keeps what is known of each enrollment: facts from its
// reports, evidence of its lock, and which commands it was asked and answered.
//
// [Record.Summarize] makes of it what reports show: the lock's status, whether a
// code is held, and the findings, which say what is wrong with the device, or soon
// will be, and what to do. [Rows] streams a report of any size, and [WriteCSV],
// [WriteJSON] and [WriteJSONLines] write it. [Periodic] and the other schedules
// say when to ask a device again.
package inventory
