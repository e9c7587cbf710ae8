// Sends messages of every kind by Segment's library for Go: HOST WRITE_KEY ROUNDS.
// Its exit status is 0 when the library has given up none.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/segmentio/analytics-go/v3"
)

type counter struct{ failed int }

func (c *counter) Success(analytics.Message) {}

func (c *counter) Failure(message analytics.Message, err error) {
	c.failed++
	fmt.Fprintln(os.Stderr, err, message)
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[3])
	count := &counter{}
	client, err := analytics.NewWithConfig(os.Args[2], analytics.Config{
		Endpoint: os.Args[1], BatchSize: 7, Callback: count,
	})
	if err != nil {
		panic(err)
	}
	for number := range rounds {
		id := func(kind string) string { return fmt.Sprintf("go-%s-%d", kind, number) }
		about := &analytics.Context{Locale: "de-DE", Page: analytics.PageInfo{URL: "https://shop.example/p"}}
		for _, message := range []analytics.Message{
			analytics.Track{MessageId: id("track"), UserId: "u", Event: "Order Completed", Context: about,
				Properties: analytics.NewProperties().SetRevenue(68.5)},
			analytics.Page{MessageId: id("page"), UserId: "u", Name: "Index", Context: about},
			analytics.Screen{MessageId: id("screen"), UserId: "u", Name: "Cart"},
			analytics.Identify{MessageId: id("identify"), UserId: "u", Traits: analytics.NewTraits().SetName("A")},
			analytics.Group{MessageId: id("group"), UserId: "u", GroupId: "g"},
			analytics.Alias{MessageId: id("alias"), UserId: "u", PreviousId: "visitor"},
		} {
			if err := client.Enqueue(message); err != nil {
				panic(err)
			}
		}
	}
	client.Close()
	if count.failed > 0 {
		os.Exit(1)
	}
}
