package hub

import (
	"fmt"
	"log/slog"
)

// logger passes the server's log on. A fatal condition does not end the process, which
// belongs to the controller; the first is kept.
type logger struct {
	log   *slog.Logger
	fatal chan string // holds one
}

func (l *logger) Noticef(format string, v ...any) { l.log.Info("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }

func (l *logger) Fatalf(format string, v ...any) {
	l.Errorf(format, v...)
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}

func (l *logger) Tracef(string, ...any) {} // would hold payloads
