module example.com/linq-relay/push

go 1.22

require github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
