// acme: a tool with device login (RFC 8628), with Go's standard library alone.
//
//	acme login     signs this machine in
//	acme token     prints an access token that is valid
//	acme whoami    shows who is signed in
//	acme logout    signs this machine out
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const deviceCode = "urn:ietf:params:oauth:grant-type:device_code"

var (
	issuer   = setting("ACME_ISSUER", "https://login.acme.example")
	clientID = setting("ACME_CLIENT_ID", "acme-cli")
	scope    = "openid email offline_access"
)

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// Metadata is what the server says of itself (RFC 8414).
type Metadata struct {
	Issuer   string `json:"issuer"`
	Device   string `json:"device_authorization_endpoint"`
	Token    string `json:"token_endpoint"`
	Revoke   string `json:"revocation_endpoint"`
	Userinfo string `json:"userinfo_endpoint"`
	WaitMax  int    `json:"device_poll_wait_max"`
}

// Codes is the answer to the device authorization request.
type Codes struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	URI        string `json:"verification_uri"`
	Complete   string `json:"verification_uri_complete"`
	ExpiresIn  int    `json:"expires_in"`
	Interval   int    `json:"interval"`
}

// Tokens is the token endpoint's answer, and with ExpiresAt what is kept.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	ExpiresIn    int64  `json:"expires_in,omitempty"`
	ExpiresAt    int64  `json:"expires_at"`
}

// Refusal is an error that the server answered (RFC 6749, section 5.2).
type Refusal struct {
	Code         string `json:"error"`
	Description  string `json:"error_description"`
	Verification string `json:"verification"`
	TriesLeft    int    `json:"tries_left"`
}

func (refusal *Refusal) Error() string {
	if refusal.Description != "" {
		return refusal.Description
	}
	return refusal.Code
}

func main() {
	command := ""
	if len(os.Args) == 2 {
		command = os.Args[1]
	}
	commands := map[string]func() error{"login": login, "token": token, "whoami": whoami, "logout": logout}
	run, known := commands[command]
	if !known {
		fmt.Fprintln(os.Stderr, "usage: acme login | token | whoami | logout")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "acme:", err)
		os.Exit(1)
	}
}

// Redirects are not followed: they would carry tokens elsewhere.
var client = &http.Client{
	Timeout:       60 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send reads the answer into result, which is a *Refusal where the server refuses.
func send(request *http.Request, result any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<18))
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusOK {
		return json.Unmarshal(body, result)
	}
	refusal := &Refusal{}
	trouble := response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
	if trouble || json.Unmarshal(body, refusal) != nil || refusal.Code == "" {
		return fmt.Errorf("%s answered %s", request.URL.Host, response.Status)
	}
	return refusal
}

func post(address string, form url.Values, wait int, result any) error {
	form.Set("client_id", clientID)
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if wait > 0 {
		request.Header.Set("Prefer", "wait="+strconv.Itoa(wait))
	}
	return send(request, result)
}

// discover reads the server's addresses. They belong to the issuer only if they say so (RFC 8414, section 3.3).
func discover() (metadata Metadata, err error) {
	request, err := http.NewRequest(http.MethodGet, issuer+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return
	}
	if err = send(request, &metadata); err == nil && metadata.Issuer != issuer {
		err = fmt.Errorf("%s is not what the server calls itself", issuer)
	}
	return
}

func login() error {
	metadata, err := discover()
	if err != nil {
		return err
	}
	name, _ := os.Hostname()
	codes := Codes{Interval: 5}
	form := url.Values{"scope": {scope}, "device_name": {name}}
	if err := post(metadata.Device, form, 0, &codes); err != nil {
		return fmt.Errorf("no code: %w", err)
	}
	if codes.Complete != "" {
		fmt.Fprintf(os.Stderr, "Open %s\nin any browser, and compare the code that it shows: %s\n", codes.Complete, codes.UserCode)
	} else {
		fmt.Fprintf(os.Stderr, "Open %s\nin any browser, and enter this code: %s\n", codes.URI, codes.UserCode)
	}
	tokens, err := poll(metadata, codes)
	if err != nil {
		return err
	}
	if err := keep(tokens); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Signed in.")
	return nil
}

func poll(metadata Metadata, codes Codes) (*Tokens, error) {
	interval := time.Duration(codes.Interval) * time.Second
	// The server says when a code has expired. Should it not, this ends the wait; two minutes more are for the number.
	giveUp := time.Now().Add(time.Duration(codes.ExpiresIn+120) * time.Second)
	// A server that can hold a poll until the decision says for how long (RFC 7240). Not longer than 20 s: proxies cut.
	wait := metadata.WaitMax
	if wait > 20 {
		wait = 20
	}
	form := url.Values{"grant_type": {deviceCode}, "device_code": {codes.DeviceCode}}
	pause, failures := interval, 0
	for time.Now().Before(giveUp) {
		time.Sleep(pause)
		asked, tokens := time.Now(), &Tokens{}
		err := post(metadata.Token, form, wait, tokens)
		if err == nil {
			return tokens, nil
		}
		form.Del("verification_number")
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			// One poll that failed is not the end: wait, longer each time, and don't ask for it to be held.
			if failures++; failures > 4 {
				failures = 4
			}
			wait, pause = 0, interval<<failures
			continue
		}
		failures = 0
		switch refusal.Code {
		case "authorization_pending":
			// A poll that was held counts from its start: the time it took needs no waiting again.
			pause = interval - time.Since(asked)
			if refusal.Verification == "number" {
				// Approved, but the page shows a number that has to be typed here.
				fmt.Fprintf(os.Stderr, "Type the number that the page shows (%d tries left): ", refusal.TriesLeft)
				var number string
				if _, err := fmt.Scanln(&number); err == io.EOF {
					return nil, errors.New("the server wants a number, and nobody types one")
				}
				form.Set("verification_number", number)
				pause = 0
			}
		case "slow_down":
			interval += 5 * time.Second
			pause = interval
		case "access_denied":
			return nil, errors.New("the login was denied.")
		case "expired_token":
			return nil, errors.New(`the code has expired. Run "acme login" again.`)
		default:
			return nil, fmt.Errorf("not signed in: %w", refusal)
		}
	}
	return nil, errors.New(`the code has expired. Run "acme login" again.`)
}

func store() (string, error) {
	directory := os.Getenv("XDG_CONFIG_HOME")
	if directory == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		directory = filepath.Join(home, ".config")
	}
	directory = filepath.Join(directory, "acme")
	return filepath.Join(directory, "tokens.json"), os.MkdirAll(directory, 0o700)
}

// keep writes beside the file first, so that it is replaced as a whole or not at all. CreateTemp's mode is 0600.
func keep(tokens *Tokens) error {
	tokens.ExpiresAt, tokens.ExpiresIn = time.Now().Unix()+tokens.ExpiresIn, 0
	path, err := store()
	if err != nil {
		return err
	}
	text, err := json.Marshal(tokens)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "tokens")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func kept() (*Tokens, error) {
	path, err := store()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New(`not signed in. Run "acme login".`)
	} else if err != nil {
		return nil, err
	}
	tokens := &Tokens{}
	return tokens, json.Unmarshal(text, tokens)
}

func forget() error {
	path, err := store()
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// fresh gives the access token that is kept, or a new one when that is about to expire.
func fresh() (string, error) {
	tokens, err := kept()
	if err != nil || tokens.ExpiresAt > time.Now().Unix()+60 {
		return tokens.accessToken(), err
	}
	if tokens.RefreshToken == "" {
		return "", errors.New(`the access has expired. Run "acme login" again.`)
	}
	metadata, err := discover()
	if err != nil {
		return "", err
	}
	// A server that sends no new refresh token means the old one.
	next := &Tokens{RefreshToken: tokens.RefreshToken}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}}
	err = post(metadata.Token, form, 0, next)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code == "invalid_grant" {
		_ = forget()
		return "", fmt.Errorf("signed out. %w Run \"acme login\".", refusal)
	}
	if err == nil {
		err = keep(next)
	}
	return next.AccessToken, err
}

func (tokens *Tokens) accessToken() string {
	if tokens == nil {
		return ""
	}
	return tokens.AccessToken
}

func token() error {
	accessToken, err := fresh()
	if err == nil {
		fmt.Println(accessToken)
	}
	return err
}

func whoami() error {
	accessToken, err := fresh()
	if err != nil {
		return err
	}
	metadata, err := discover()
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodGet, metadata.Userinfo, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+accessToken)
	var person json.RawMessage
	if err := send(request, &person); err != nil {
		return err
	}
	fmt.Println(string(person))
	return nil
}

// logout forgets the tokens whether or not the server could be told.
func logout() error {
	tokens, err := kept()
	if err != nil {
		return err
	}
	if err := forget(); err != nil {
		return err
	}
	metadata, err := discover()
	if err == nil {
		revoked := tokens.RefreshToken
		if revoked == "" {
			revoked = tokens.AccessToken
		}
		err = post(metadata.Revoke, url.Values{"token": {revoked}}, 0, &struct{}{})
	}
	if err != nil {
		return fmt.Errorf("the tokens are gone from here, but the server could not be told: %w", err)
	}
	fmt.Fprintln(os.Stderr, "Signed out.")
	return nil
}
