package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/textproto"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/media"
)

func (a *app) importCommand() *cobra.Command {
	var workers int
	cmd := &cobra.Command{
		Use:   "import PATH...",
		Short: "Store files, folders, ZIP archives and DICOMDIR media",
		Long: `Stores what the paths hold: single files, folders and all below them, ZIP
archives, and media by their DICOMDIR. An import that was interrupted goes on
where it stopped when it is started again with the same paths. Ends with status 2 when
something was refused.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			_, c, err := a.config(cmd)
			if err != nil {
				return err
			}
			if workers < 1 || workers > 64 {
				return fault.New(fault.Invalid, "--workers must be between 1 and 64")
			}
			return runImport(cmd.Context(), c, paths, workers, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&workers, "workers", 8, "how many requests at a time")
	return cmd
}

// A request carries files up to these limits.
const (
	batchFiles = 32
	batchBytes = 32 << 20
)

func runImport(ctx context.Context, c *Config, paths []string, workers int, stdout, stderr io.Writer) (err error) {
	cl, err := c.connect(ctx, c.logger(stderr), stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cl.close()) }()
	j, err := openJournal(ctx, cl, c.Data, paths)
	if err != nil {
		return err
	}
	im := &importer{client: cl, journal: j, tally: tally{reasons: map[string]int{}}}
	im.bar(stderr)
	err = im.run(ctx, paths, workers)
	im.files.Abort(false) // nothing to a bar that is complete
	im.bars.Wait()
	im.tally.print(stdout)
	if cerr := j.close(err == nil); err == nil {
		err = cerr
	}
	if err == nil && im.tally.refused > 0 {
		err = errGaps
	}
	return err
}

// importer sends files to the archive, some at a time.
type importer struct {
	client  *client
	journal *journal
	tally   tally
	bars    *mpb.Progress
	files   *mpb.Bar
}

func (im *importer) bar(w io.Writer) {
	im.bars = mpb.New(mpb.WithOutput(terminal(w)), mpb.WithWidth(40))
	im.files = im.bars.AddBar(0, mpb.PrependDecorators(decor.Name("importing ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d files "), decor.Elapsed(decor.ET_STYLE_GO)))
}

// terminal returns w if a person looks at it, and otherwise nil: no progress is shown then.
func terminal(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return w
}

func (im *importer) run(ctx context.Context, paths []string, workers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan []media.File)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for b := range batches {
				if err := im.send(ctx, b); err != nil {
					cancel(err)
				}
			}
		})
	}
	var batch []media.File
	var size, total int64
	flush := func() {
		if len(batch) > 0 {
			select {
			case batches <- batch:
			case <-ctx.Done():
			}
			batch, size = nil, 0
		}
	}
	err := media.Walk(ctx, paths, func(f media.File, err error) error {
		total++
		im.files.SetTotal(total, false)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			im.tally.add(f.Name, imported{Outcome: "refused", Detail: fault.Message(err)})
			im.files.Increment()
			return nil
		case im.journal.has(f):
			im.tally.add(f.Name, imported{Outcome: "known"})
			im.files.Increment()
			return nil
		}
		batch, size = append(batch, f), size+f.Size
		if len(batch) >= batchFiles || size >= batchBytes {
			flush()
		}
		return nil
	})
	flush()
	close(batches)
	wg.Wait()
	im.files.SetTotal(-1, true)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// send stores a batch in one request, and streams it: memory does not grow with the files.
func (im *importer) send(ctx context.Context, batch []media.File) error {
	r, w := io.Pipe()
	m := multipart.NewWriter(w)
	var sent []media.File
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, f := range batch {
			if im.part(m, f, w) {
				sent = append(sent, f)
			}
		}
		w.CloseWithError(m.Close())
	}()
	resp, err := im.client.do(ctx, "POST", im.client.control("import", nil), m.FormDataContentType(), r)
	r.CloseWithError(context.Canceled) // lets the writer end when the request did not take all
	<-written
	if err != nil {
		return fmt.Errorf("storing: %w", err)
	}
	defer resp.Body.Close()
	var results []imported
	if err := json.NewDecoder(resp.Body).Decode(&results); err != nil || len(results) != len(sent) {
		return fmt.Errorf("storing: the answer cannot be understood: %w", err)
	}
	var done []media.File
	for i, res := range results {
		im.tally.add(sent[i].Name, res)
		if res.Outcome != "refused" {
			done = append(done, sent[i])
		}
		im.files.Increment()
	}
	return im.journal.add(done)
}

// part sends one file; false when it cannot be opened.
func (im *importer) part(m *multipart.Writer, f media.File, w *io.PipeWriter) bool {
	src, err := f.Open()
	if err != nil {
		im.tally.add(f.Name, imported{Outcome: "refused", Detail: "cannot be opened"})
		im.files.Increment()
		return false
	}
	defer src.Close()
	p, err := m.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{p}, src, make([]byte, 256<<10))
	}
	if err != nil {
		w.CloseWithError(fmt.Errorf("reading %s: %w", f.Name, err))
	}
	return true
}

// tally counts outcomes, and keeps some names of what was refused.
type tally struct {
	mu                             sync.Mutex
	stored, known, warned, refused int
	reasons                        map[string]int
	names                          bytes.Buffer
	listed                         int
}

// maxListed is how many refused files are named.
const maxListed = 50

func (t *tally) add(name string, i imported) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch i.Outcome {
	case "stored":
		t.stored++
	case "known":
		t.known++
	default:
		t.refused++
		t.reasons[i.Detail]++
		if t.listed < maxListed {
			fmt.Fprintf(&t.names, "  %s: %s\n", name, i.Detail)
		}
		t.listed++
	}
	if i.Warning {
		t.warned++
		t.reasons[i.Detail]++
	}
}

func (t *tally) print(w io.Writer) {
	if t.refused > 0 {
		fmt.Fprintf(w, "Refused:\n%s", t.names.String())
		if t.listed > maxListed {
			fmt.Fprintf(w, "  and %d more\n", t.listed-maxListed)
		}
		fmt.Fprintln(w)
	}
	_ = table(w, func(w io.Writer) { // it was done, whoever reads this
		fmt.Fprintf(w, "stored\t%d\nknown already\t%d\nrefused\t%d\n", t.stored, t.known, t.refused)
		if t.warned > 0 {
			fmt.Fprintf(w, "stored with a warning\t%d\n", t.warned)
		}
		for _, r := range slices.Sorted(maps.Keys(t.reasons)) {
			fmt.Fprintf(w, "  %s\t%d\n", r, t.reasons[r])
		}
	})
}
