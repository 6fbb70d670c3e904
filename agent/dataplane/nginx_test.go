package dataplane

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// A port that something else holds passes nginx -t and nginx -s reload.
func TestRefusedReloadIsFoundAndExplained(t *testing.T) {
	t.Parallel()
	p := newPlane(t, KindNginx)
	d := p.open(t)
	one := p.release(t, 1, p.good("one"))
	p.switchTo(t, d, one)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	files := p.good("two")
	files[NginxTemplate] = strings.Replace(nginxTemplate, "listen @listen@;", "listen @listen@; listen "+taken.Addr().String()+";", 1)
	two := p.release(t, 2, files)
	if err := d.Validate(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	p.prepare(t, two)
	if err := d.Activate(t.Context(), two); err != nil {
		t.Fatalf("Activate: %v; nginx hides this error", err)
	}
	begin := time.Now()
	_, err = d.Confirm(t.Context(), two)
	if err == nil {
		t.Fatal("Confirm: no error")
	}
	for _, want := range []string{"serves \"" + one.ID() + "\"", "bind() to " + taken.Addr().String() + " failed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not hold %q", err, want)
		}
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("found out after %s", took)
	}
	p.mustServe(t, d, "one")
	back := one
	back.Epoch = 3
	p.switchTo(t, d, back)
}

func TestSurvivingMasterIsAdopted(t *testing.T) {
	t.Parallel()
	p := newPlane(t, KindNginx)
	dead := p.open(t) // never asked to close before the test is over, as if killed
	one, two := p.release(t, 1, p.good("one")), p.release(t, 2, p.good("two"))
	p.switchTo(t, dead, one)
	before, err := dead.(*nginx).master()
	if err != nil {
		t.Fatal(err)
	}

	d := p.open(t)
	p.mustConfirm(t, d, one)
	p.switchTo(t, d, two)
	if after, err := d.(*nginx).master(); err != nil || after != before {
		t.Errorf("master %d, %v; want the surviving %d", after, err, before)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d.(*nginx).isMaster(before) {
		t.Errorf("master %d outlives Close", before)
	}
}

func TestForeignMasterIsReloadedAndLeftRunning(t *testing.T) {
	t.Parallel()
	p := newPlane(t, KindNginx)
	p.cfg.Start, p.cfg.PIDFile = false, filepath.Join(t.TempDir(), "foreign.pid")
	d := p.open(t)
	one, two := p.release(t, 1, p.good("one")), p.release(t, 2, p.good("two"))
	p.prepare(t, one)
	if err := d.Activate(t.Context(), one); err == nil || !strings.Contains(err.Error(), "nginx is not running") {
		t.Fatalf("Activate without a master: %v", err)
	}
	n := d.(*nginx)
	master := exec.Command(n.binary, append(n.args(n.conf(), n.log()), "-g", "daemon off;")...)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = master.Process.Signal(os.Interrupt)
		_ = master.Wait()
	}()
	for end := time.Now().Add(10 * time.Second); ; {
		if _, err := n.master(); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	p.switchTo(t, d, one)
	p.switchTo(t, d, two)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !n.isMaster(master.Process.Pid) {
		t.Error("Close stopped a server that is not the driver's")
	}
	p.mustServe(t, d, "two")
}

func TestStrangerInThePIDFileIsNotSignalled(t *testing.T) {
	t.Parallel()
	for _, start := range []bool{true, false} {
		t.Run(fmt.Sprintf("start=%v", start), func(t *testing.T) {
			p := newPlane(t, KindNginx)
			p.cfg.Start, p.cfg.PIDFile = start, filepath.Join(t.TempDir(), "nginx.pid")
			d := p.open(t)
			stranger := exec.Command("/bin/sleep", "60")
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { _ = stranger.Wait(); close(ended) }()
			defer func() { _ = stranger.Process.Kill(); <-ended }()
			mustWrite(t, p.cfg.PIDFile, fmt.Sprintln(stranger.Process.Pid))
			r := p.release(t, 1, p.good("one"))
			if err := d.Activate(t.Context(), r); (err == nil) != start {
				t.Errorf("Activate: %v", err)
			}
			if start {
				p.mustConfirm(t, d, r)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				t.Error("the stranger was ended")
			default:
			}
		})
	}
}

func TestStartFailureSaysWhy(t *testing.T) {
	t.Parallel()
	p := newPlane(t, KindNginx)
	taken, err := net.Listen("tcp", p.cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d := p.open(t)
	err = d.Activate(t.Context(), p.release(t, 1, p.good("one")))
	if err == nil || !strings.Contains(err.Error(), "Address already in use") && !strings.Contains(err.Error(), "could not bind") {
		t.Errorf("Activate: %v", err)
	}
}

func TestValidateLeavesNothingBehind(t *testing.T) {
	p := newPlane(t, KindNginx)
	d := p.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Validate(ctx, p.release(t, 1, p.good("one"))); err == nil {
		t.Error("Validate in an ended context: no error")
	}
	left, err := filepath.Glob(filepath.Join(p.cfg.Dir, ".candidate-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A web application firewall with the OWASP core rule set, as Debian packages both.
func TestWAF(t *testing.T) {
	t.Parallel()
	p := newPlane(t, KindNginx)
	const module, rules = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so", "/usr/share/modsecurity-crs/rules"
	for _, path := range []string{module, rules} {
		if _, err := os.Stat(path); err != nil {
			if os.Getenv("EBBGATE_REQUIRE_SERVERS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	d := p.open(t)
	release := func(epoch wire.Epoch, engine string) Release {
		files := p.good("page")
		files[NginxTemplate] = "load_module " + module + ";\n" + strings.Replace(nginxTemplate, "listen @listen@;",
			"listen @listen@; modsecurity on; modsecurity_rules_file @release@/main.conf;", 1)
		files["main.conf"] = "SecRuleEngine " + engine + "\nSecRequestBodyAccess On\n" +
			"Include /etc/modsecurity/crs/crs-setup.conf\nInclude " + rules + "/*.conf\n"
		return p.release(t, epoch, files)
	}
	attack := "/page?id=" + url.QueryEscape("1 UNION SELECT password FROM users")
	for _, tt := range []struct {
		epoch  wire.Epoch
		engine string
		status int
	}{{1, "DetectionOnly", 200}, {2, "On", 403}} {
		r := release(tt.epoch, tt.engine)
		r.Probes = append(r.Probes, probe("/page", 200), probe(attack, tt.status))
		if err := d.Validate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		p.switchTo(t, d, r)
		if err := d.Check(t.Context(), r); err != nil {
			t.Errorf("SecRuleEngine %s: %v", tt.engine, err)
		}
	}
	broken := release(3, "Perhaps")
	if err := d.Validate(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "main.conf") {
		t.Errorf("Validate of broken rules: %v", err)
	} else {
		t.Log(err)
	}
}

// A master that is killed takes its workers along: they would hold the port.
func TestNoWorkerOutlivesAKilledMaster(t *testing.T) {
	t.Parallel()
	for name, ready := range map[string]string{
		"it never gets ready": "false",
		"it does not end":     "true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t, KindNginx)
			dir := t.TempDir()
			p.cfg.Binary = filepath.Join(dir, "stubborn")
			script := `#!/bin/bash
case "$*" in
-v) echo nginx version: nginx/1.22.1 ;;
*daemon*) ` + ready + ` && echo $$ >"${4%.conf}.pid"
	exec -a "nginx: master process $0 -c $4 " bash -c 'trap "" QUIT TERM; sleep 1000 & echo $! >"$0/new"; mv "$0/new" "$0/worker"; wait' ` + dir + ` ;;
esac
`
			if err := os.WriteFile(p.cfg.Binary, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			d := p.open(t)
			r := p.release(t, 1, p.good("one"))
			p.prepare(t, r)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := d.Activate(ctx, r); (err == nil) != (ready == "true") {
				t.Fatalf("Activate: %v", err)
			}
			var worker string
			for end := time.Now().Add(10 * time.Second); worker == ""; time.Sleep(masterPoll) {
				if data, err := os.ReadFile(filepath.Join(dir, "worker")); err == nil {
					worker = strings.TrimSpace(string(data))
				} else if time.Now().After(end) {
					t.Fatal("no worker has started")
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(masterPoll) {
				title, err := os.ReadFile(filepath.Join("/proc", worker, "cmdline"))
				if err != nil || len(title) == 0 { // a zombie has none
					break
				}
				if time.Now().After(end) {
					exec.Command("kill", "-9", worker).Run()
					t.Fatalf("worker %s goes on: %q", worker, title)
				}
			}
		})
	}
}
