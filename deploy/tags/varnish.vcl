# Tags of the active release on every answer of a Varnish whose VCL is rolled out. Tested
# with 7.1. (A Varnish that only caches what data planes answer needs none of this, but
# ../varnish/ebbgate.vcl.)
#
# In the bundle as varnish.vcl.ebbgate. The agent fills in what stands between @ and @, and the
# hook reload-varnish loads the result. Files of the release: include "@release@/...";

vcl 4.1;

import std;

# An answer keeps the tags of the VCL that fetched it for as long as it is stored: they say
# what is in it, not what runs now. So the activation is followed by a purge of this Varnish,
# too. Include ebbgate.vcl after this file for that: it files answers under all their tags.
sub ebbgate_tags {
    set beresp.http.X-Ebbgate-Release = "@release-id@";
    set beresp.http.X-Ebbgate-Gen = "@generation@";

    # Tags of the server behind this one stay, behind ours. A 304 brings back those of the
    # stored answer that it confirms: everything up to our generation is from here.
    std.collect(beresp.http.Surrogate-Key, " ");
    set beresp.http.Surrogate-Key = "@tags@ " +
        regsub(beresp.http.Surrogate-Key, "^.*gen:@app@\.@region@-[0-9]+ ?", "");
    std.collect(beresp.http.Cache-Tag, ",");
    set beresp.http.Cache-Tag = "@cache-tags@," +
        regsub(beresp.http.Cache-Tag, "^.*gen:@app@\.@region@-[0-9]+,?", "");
    set beresp.http.Surrogate-Key = regsub(beresp.http.Surrogate-Key, " +$", "");
    set beresp.http.Cache-Tag = regsub(beresp.http.Cache-Tag, ",+$", "");
}

sub vcl_backend_response {
    call ebbgate_tags;
}

sub vcl_backend_error {
    call ebbgate_tags;
}

sub vcl_recv {
    if (req.url == "/.well-known/ebbgate") {
        return (synth(797));
    }
}

sub vcl_synth {
    set resp.http.X-Ebbgate-Release = "@release-id@";
    set resp.http.X-Ebbgate-Gen = "@generation@";
    set resp.http.Surrogate-Key = "@tags@";
    set resp.http.Cache-Tag = "@cache-tags@";
    if (resp.status == 797) {
        # The agent reads back here what serves.
        set resp.status = 200;
        set resp.reason = "OK";
        set resp.http.Content-Type = "application/json";
        set resp.http.Cache-Control = "no-store";
        synthetic("""@identity@""");
        return (deliver);
    }
}

sub vcl_deliver {
    # RFC 9211: the caches before this one come first.
    if (resp.http.Cache-Status) {
        std.collect(resp.http.Cache-Status, ", ");
        set resp.http.Cache-Status = resp.http.Cache-Status + ", ";
    }
    if (obj.hits > 0) {
        set resp.http.Cache-Status = resp.http.Cache-Status + "Varnish; hit; ttl=" + std.integer(duration=obj.ttl);
    } elsif (obj.uncacheable) {
        set resp.http.Cache-Status = resp.http.Cache-Status + "Varnish; fwd=bypass";
    } else {
        set resp.http.Cache-Status = resp.http.Cache-Status + "Varnish; fwd=miss";
    }
    # For CDNs alone (RFC 9213); browsers go by Cache-Control.
    # if (resp.status == 200) { set resp.http.CDN-Cache-Control = "max-age=3600"; }
}

# Yours from here on.
