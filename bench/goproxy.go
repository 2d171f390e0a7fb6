// Go's standard ReverseProxy between two Unix sockets: goproxy LISTEN.sock ENGINE.sock
package main

import (
	"context"
	"encoding/json"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	target, _ := url.Parse("http://localhost")
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("unix", os.Args[2])
		},
		MaxIdleConnsPerHost: 256,
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	// A model proxy reads the body for the model's name, so this one does as well.
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		var named struct{ Model string }
		if json.Unmarshal(body, &named) != nil || named.Model == "" {
			http.Error(w, "model is required", 400)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
}
