package embedding

import (
	"context"
	"log/slog"
)

func logError(ctx context.Context, what, id string, err error) {
	slog.ErrorContext(ctx, what, "enrollment", id, "error", err)
}
