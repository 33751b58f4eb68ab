package glaciertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
)

func TestFast(t *testing.T) {
	t.Parallel()
	now := glaciertest.Fast(3600)
	from := now()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if passed := now().Sub(from); passed < 36*time.Second {
		t.Errorf("only %s passed", passed)
	}
}
