// Package inventory keeps what is known of each enrollment: facts from its
// reports, evidence of its lock, and which commands it was asked and answered.
package inventory
