# Purge and generation fence for github.com/ebbgate/ebbgate/cdn/varnish.
#
# Tested with Varnish 7.1 and varnish-modules 0.20 (xkey, var). Include it first in
# your VCL, before any vcl_recv of your own:
#
#     vcl 4.1;
#     include "ebbgate.vcl";
#     backend default { ... }
#
# Put a random token into /etc/varnish/ebbgate.token, readable by varnishd only,
# and list the controllers in the ACL. Varnish reads the token once: restart
# varnishd after changing it.

vcl 4.1;

import std;
import var;
import xkey;

acl ebbgate_purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE" || req.method == "FENCE") {
        if (client.ip !~ ebbgate_purgers) {
            return (synth(403, "Not in the ACL"));
        }
        # The token is compared where it is read: varnishlog shows what is put into a header.
        if (req.http.Ebbgate-Token !~ "." ||
            req.http.Ebbgate-Token != regsub(std.fileread("/etc/varnish/ebbgate.token"), "\s+$", "")) {
            return (synth(401, "Wrong token"));
        }

        if (req.method == "FENCE") {
            if (req.http.Ebbgate-Region !~ "^[a-z0-9.-]+$" || req.http.Ebbgate-Epoch !~ "^[0-9]{1,15}$") {
                return (synth(400, "FENCE needs Ebbgate-Region and Ebbgate-Epoch"));
            }
            # Never lowered: a late or repeated call must not open the gate again.
            if (std.integer(req.http.Ebbgate-Epoch, 0) >
                std.integer(var.global_get("mingen-" + req.http.Ebbgate-Region), 0)) {
                var.global_set("mingen-" + req.http.Ebbgate-Region, req.http.Ebbgate-Epoch);
            }
            return (synth(200, "Fenced"));
        }

        if (req.http.Xkey-Purge) {
            set req.http.Ebbgate-Gone = xkey.purge(req.http.Xkey-Purge);
        } else if (req.http.Xkey-Softpurge) {
            set req.http.Ebbgate-Gone = xkey.softpurge(req.http.Xkey-Softpurge);
        } else if (req.http.Ebbgate-Ban-Url) {
            if (!std.ban("obj.http.Ebbgate-Host == " + req.http.Ebbgate-Ban-Host +
                " && obj.http.Ebbgate-Url == " + req.http.Ebbgate-Ban-Url)) {
                return (synth(400, std.ban_error()));
            }
        } else if (req.http.Ebbgate-Ban-Prefix) {
            if (!std.ban("obj.http.Ebbgate-Host == " + req.http.Ebbgate-Ban-Host +
                " && obj.http.Ebbgate-Url ~ " + req.http.Ebbgate-Ban-Prefix)) {
                return (synth(400, std.ban_error()));
            }
        } else if (req.http.Ebbgate-Ban-Host) {
            if (!std.ban("obj.http.Ebbgate-Host == " + req.http.Ebbgate-Ban-Host)) {
                return (synth(400, std.ban_error()));
            }
        } else if (req.http.Ebbgate-Ban-All) {
            if (!std.ban("obj.status != 0")) {
                return (synth(400, std.ban_error()));
            }
        } else {
            return (synth(400, "PURGE without a selector"));
        }
        return (synth(200, "Purged"));
    }
}

sub vcl_synth {
    if (req.method == "PURGE" || req.method == "FENCE") {
        if (resp.status == 200) {
            set resp.http.Ebbgate-Accepted = "1";
            set resp.http.Ebbgate-Gone = req.http.Ebbgate-Gone;
        }
        return (deliver);
    }
}

sub vcl_backend_response {
    if (beresp.http.Surrogate-Key) {
        # The application and the data plane may each send a header of their own.
        std.collect(beresp.http.Surrogate-Key, " ");
        set beresp.http.xkey = beresp.http.Surrogate-Key;
    } else if (beresp.http.Cache-Tag) {
        # From a shield of another make, which may keep Surrogate-Key to itself.
        std.collect(beresp.http.Cache-Tag, ",");
        set beresp.http.xkey = beresp.http.Cache-Tag;
    }
    # Bans may look only at the object, or the ban lurker cannot retire them.
    set beresp.http.Ebbgate-Host = bereq.http.Host;
    set beresp.http.Ebbgate-Url = bereq.url;

    # The fence: X-Ebbgate-Gen is <app>.<region>-<epoch>. A response older than the
    # fence of its app and region is delivered to whoever asked and not kept.
    if (beresp.http.X-Ebbgate-Gen ~ "^[a-z0-9.-]+-[0-9]{1,15}$" &&
        std.integer(regsub(beresp.http.X-Ebbgate-Gen, "^.*-", ""), 0) <
        std.integer(var.global_get("mingen-" + regsub(beresp.http.X-Ebbgate-Gen, "-[0-9]+$", "")), 0)) {
        set beresp.ttl = 0s;
        set beresp.grace = 0s;
        set beresp.keep = 0s;
        set beresp.uncacheable = true;
        return (deliver);
    }
}

sub vcl_deliver {
    # Surrogate-Key and Cache-Tag stay: the cache in front files answers under them.
    # Fastly and Cloudflare take their own header off before it reaches a browser.
    unset resp.http.xkey;
    unset resp.http.Ebbgate-Host;
    unset resp.http.Ebbgate-Url;
}
