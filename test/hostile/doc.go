// Package hostile stores pixel data that is made to do harm in a server of its
// own process, asks for everything that may be made of it, and watches: each
// answer is a client's error or right, comes soon and costs little memory, and
// the server is afterwards as it was.
package hostile
