// The sidecar from Go, with the standard library only.
//
// Usage: go run client.go [URL [WAIT_SECONDS]]
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const absent = "(absent)"

var (
	base   = "http://localhost:8081"
	wait   = 30
	client http.Client
)

func ask(method, path, body, tag string) (status int, newTag, text string, err error) {
	request, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	if tag != "" {
		request.Header.Set("If-None-Match", tag)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", "", err
	}
	defer answer.Body.Close()
	bytes, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header.Get("ETag"), string(bytes), err
}

func pathOf(key string) string { return "/map/" + url.PathEscape(key) }

func put(key, value string, ttl time.Duration) error {
	path := pathOf(key)
	if ttl > 0 {
		path += fmt.Sprintf("?ttl=%dms", ttl.Milliseconds())
	}
	status, _, reason, err := ask("PUT", path, value, "")
	if err == nil && status != http.StatusCreated && status != http.StatusNoContent {
		err = fmt.Errorf("%d %s", status, reason)
	}
	return err
}

func get(key string) (value string, found bool, err error) {
	status, _, value, err := ask("GET", pathOf(key), "", "")
	return value, status == http.StatusOK, err
}

func remove(key string) error {
	_, _, _, err := ask("DELETE", pathOf(key), "", "")
	return err
}

// watch calls back with the value now and after each change, until that returns false.
func watch(key string, changed func(value string, found bool) bool) {
	tag, seconds := "", 0
	for {
		path := fmt.Sprintf("%s?wait=%ds", pathOf(key), seconds)
		status, newTag, value, err := ask("GET", path, "", tag)
		if err != nil {
			fmt.Println("no answer, trying again")
			waitUntilReady()
			continue
		}
		goOn := true
		switch status {
		case http.StatusOK:
			tag = newTag
			goOn = changed(value, true)
		case http.StatusNotFound:
			if tag != "" || seconds == 0 {
				goOn = changed("", false)
			}
			tag = ""
		case http.StatusNotModified:
		default: // 503: too many wait already, or it has just started
			time.Sleep(time.Second)
		}
		if !goOn {
			return
		}
		seconds = wait
	}
}

// A sidecar has nothing after its start, until it has met another one.
func waitUntilReady() {
	for {
		if status, _, _, err := ask("GET", "/readyz", "", ""); err == nil && status == http.StatusOK {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func show(key string) {
	value, found, err := get(key)
	check(err)
	if !found {
		value = absent
	}
	fmt.Println(key, "=", value)
}

func main() {
	if len(os.Args) > 1 {
		base = os.Args[1]
	}
	if len(os.Args) > 2 {
		seconds, err := strconv.Atoi(os.Args[2])
		check(err)
		wait = seconds
	}
	client.Timeout = time.Duration(wait+10) * time.Second

	check(put("demo/go", "blue", 0))
	show("demo/go")
	check(put("demo/go", "red", time.Minute))
	show("demo/go")
	check(remove("demo/go"))
	show("demo/go")

	watch("flag", func(value string, found bool) bool {
		if !found {
			value = absent
		}
		fmt.Println("flag =", value)
		return value != "end"
	})
}
