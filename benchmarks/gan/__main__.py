from benchmarks.gan.run import main

main()
