package retrieve

import (
	"context"
	"io"

	"github.com/strata-pacs/strata/internal/fault"
)

func convert(ctx context.Context, w io.Writer, r io.Reader, to string) error {
	return fault.New(fault.NotAcceptable, "conversion is not there yet")
}
