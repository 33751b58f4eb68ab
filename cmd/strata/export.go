package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/media"
)

func (a *app) exportCommand() *cobra.Command {
	var named studyName
	cmd := &cobra.Command{
		Use:   "export [STUDY-UID] TARGET",
		Short: "Write a study as a folder, or a ZIP archive, with a DICOMDIR",
		Long: `Writes a study, as it was received, to a new folder, or to a ZIP archive when the
target's name ends in .zip. A DICOMDIR lists its instances.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			study, rest, err := named.take(args)
			switch {
			case err != nil:
				return err
			case study == "":
				return errNoStudy()
			case len(rest) != 1:
				return fault.New(fault.Invalid, "name one target: a new folder, or a file that ends in .zip")
			}
			return runExport(cmd.Context(), c, study, rest[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	named.add(cmd.Flags())
	return cmd
}

func runExport(ctx context.Context, c *Config, study, target string, stdout, stderr io.Writer) (err error) {
	cl, err := c.connect(ctx, c.logger(stderr), stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	resp, err := cl.get(ctx, cl.web()+"/studies/"+study)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("reading the study: %w", err)
	}
	create := media.CreateFolder
	if strings.HasSuffix(strings.ToLower(target), ".zip") {
		create = media.CreateZIP
	}
	set, err := create(target)
	if err != nil {
		return err
	}
	n := 0
	for parts := multipart.NewReader(resp.Body, params["boundary"]); ; n++ {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = set.Add(ctx, p)
		}
		if err != nil {
			set.Abort()
			return fmt.Errorf("exporting instance %d: %w", n+1, err)
		}
	}
	if err := set.Close(); err != nil {
		set.Abort()
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d instances in %s\n", n, target)
	return err
}
