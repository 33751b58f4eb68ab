package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// peerKey is the context's name of the account at the other end of the control socket.
type peerKey struct{}

// knowPeer notes whose process opened a connection over the control socket: the kernel tells. Only
// the server's own account is a person there: the others who can open the socket can become it (root), and must
// not count as a second one.
func knowPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || asked != nil || int(cred.Uid) != os.Geteuid() {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, accountName(strconv.FormatUint(uint64(cred.Uid), 10)))
}

// accountName is the name of an account, or its number where it has none.
func accountName(uid string) string {
	if u, err := user.LookupId(uid); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid-%s", uid)
}

// peer is the account whose process sends a request over the control socket.
func peer(r *http.Request) string {
	name, _ := r.Context().Value(peerKey{}).(string)
	return name
}
