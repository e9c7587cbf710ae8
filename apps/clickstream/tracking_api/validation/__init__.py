"""From the bytes of a request to clicks and rejections, by rules that need neither Kafka nor a clock."""
