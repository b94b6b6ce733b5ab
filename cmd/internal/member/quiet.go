package member

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// volume says how much of etcd's log is passed on.
type volume struct{ low atomic.Bool }

// quiet makes etcd's logger of ours. etcd tells at level info what interests only who looks for a fault in it. While it starts
// and ends, its warnings too are debug: they are about the limits that we chose, and about connections that we closed; what
// goes wrong then comes back as an error. What it calls fatal becomes a panic, so that startEtcd can make an error of it.
func quiet(log *zap.Logger, v *volume) *zap.Logger {
	return log.Named("etcd").WithOptions(
		zap.WrapCore(func(c zapcore.Core) zapcore.Core { return demoting{c, v} }),
		zap.WithFatalHook(zapcore.WriteThenPanic),
	)
}

// demoting passes on etcd's log at the levels that quiet describes.
type demoting struct {
	zapcore.Core
	volume *volume
}

func (d demoting) level(l zapcore.Level) (_ zapcore.Level, pass bool) {
	switch {
	case l == zapcore.DebugLevel:
		return l, false
	case l == zapcore.InfoLevel, d.volume.low.Load():
		l = zapcore.DebugLevel
	}
	return l, d.Core.Enabled(l)
}

func (d demoting) Enabled(l zapcore.Level) bool {
	_, pass := d.level(l)
	return pass
}

func (d demoting) With(fields []zapcore.Field) zapcore.Core {
	return demoting{d.Core.With(fields), d.volume}
}

func (d demoting) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	l, pass := d.level(e.Level)
	if !pass {
		return ce
	}
	e.Level = l
	return d.Core.Check(e, ce)
}
