package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/internal/fault"
)

// healthCommand asks the server of this configuration how it is: for container
// health checks, in an image that has no other program.
func (a *app) healthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running server whether it is ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			scheme := "http"
			if c.TLSCert != "" {
				scheme = "https"
			}
			addr := strings.Replace(c.Listen, "0.0.0.0:", "127.0.0.1:", 1)
			// The certificate names the public host, not this one; nothing is sent or believed here.
			hc := &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			resp, err := hc.Get(scheme + "://" + addr + "/readyz")
			if err != nil {
				return fault.Wrap(fault.Unavailable, err, "the server does not answer")
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
				return fault.New(fault.Unavailable, "the server is not ready: %s", strings.TrimSpace(string(b)))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return err
		},
	}
	flagSettings(cmd.Flags(), "listen", "tls-cert")
	return cmd
}
